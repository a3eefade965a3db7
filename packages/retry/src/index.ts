/**
 * Evenkeel's retry policy: another key at once where a key is to blame, the same upstream after a while where it is not, and
 * a budget over all requests; and hedging.
 */
export * as Hedge from "./Hedge.ts"
export * as Retry from "./Retry.ts"
export * as RetryBudget from "./RetryBudget.ts"

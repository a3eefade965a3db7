/**
 * Credit-aware: more requests to keys with more credit left.
 */
export * as CreditAware from "./CreditAware.ts"

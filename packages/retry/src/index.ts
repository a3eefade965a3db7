/**
 * Evenkeel's retry policy: another key at once where a key is to blame, the same upstream after a while where it is not.
 */
export * as Retry from "./Retry.ts"

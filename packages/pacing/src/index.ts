/**
 * Evenkeel's limits per key and per account: requests and tokens per minute, requests in flight, and what throttles teach.
 */
export * as Pacing from "./Pacing.ts"

/**
 * Evenkeel's circuit breaker: a key that keeps failing is left alone for a while, and one probe decides about its return.
 */
export * as CircuitBreaker from "./CircuitBreaker.ts"

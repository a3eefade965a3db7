/**
 * Evenkeel's circuit breaker: what keeps failing (a key, its owner, a model, the host) is left alone for a while, and one
 * probe decides about its return.
 */
export * as CircuitBreaker from "./CircuitBreaker.ts"

/**
 * Least in flight: the key with the fewest requests under way for its weight.
 */
export * as LeastInFlight from "./LeastInFlight.ts"

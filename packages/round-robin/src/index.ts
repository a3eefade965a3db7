/**
 * Smooth weighted round robin: every key in turn, in proportion to its weight.
 */
export * as RoundRobin from "./RoundRobin.ts"

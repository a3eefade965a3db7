/**
 * Chaos runs: all of Evenkeel's parts against a simulated OpenRouter that has a bad day, and what must hold at the end.
 */
export * as Churn from "./Churn.ts"
export * as Invariants from "./Invariants.ts"
export * as Load from "./Load.ts"
export * as Records from "./Records.ts"
export * as Secrets from "./Secrets.ts"
export * as Seed from "./Seed.ts"
export * as Storm from "./Storm.ts"
export * as World from "./World.ts"

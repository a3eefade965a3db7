/**
 * OpenRouter's errors, to be used as actions of fault rules.
 */
export * from "./errors.ts"
export * from "./upstreamErrors.ts"

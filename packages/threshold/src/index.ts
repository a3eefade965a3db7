/**
 * Threshold: one key after the other, each down to a floor of credit.
 */
export * as Threshold from "./Threshold.ts"

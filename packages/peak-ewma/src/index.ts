/**
 * Evenkeel's peak EWMA selector: the quickest to answer, for what it has to do.
 */
export * as PeakEwma from "./PeakEwma.ts"

/**
 * Evenkeel's headroom selector: in proportion to what the limits leave.
 */
export * as Headroom from "./Headroom.ts"

/**
 * Evenkeel's telemetry: metrics, structured logs, and with them the dashboard and alert rules that read them.
 */
export * as Logs from "./Logs.ts"
export * as Metrics from "./Metrics.ts"
export * as Telemetry from "./Telemetry.ts"

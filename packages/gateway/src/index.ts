/**
 * An OpenAI-compatible gateway over many keys, for Evenkeel.
 */
export * as Gateway from "./Gateway.ts"
export * as GatewayServer from "./GatewayServer.ts"

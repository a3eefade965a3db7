/**
 * Many processes that use the same keys: local decisions, facts shared through Redis.
 */
export * as RedisConnection from "./RedisConnection.ts"
export * as RedisFacts from "./RedisFacts.ts"
export * as Sharing from "./Sharing.ts"
export * as StrictPermits from "./StrictPermits.ts"

import type * as Redis from "effect/persistence/Redis"

/** Why Redis could not be asked, in a word: the message of a `RedisError` itself is empty. */
export const reasonOf = (error: Redis.RedisError | { readonly _tag: string }): string => {
  const cause = "cause" in error ? error.cause : undefined
  return cause instanceof Error ? cause.message || cause.name : error._tag
}

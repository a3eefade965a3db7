/**
 * Permits in Redis: a sorted set for each key and account, with a member for each use and the time at which it lapses. A
 * member is never used twice, so that who comes back late cannot give back, or renew, the permit of another.
 */
import * as Redis from "effect/persistence/Redis"

/** A cap: the name of the set that counts against it, and how many may be in it. */
export interface Cap {
  readonly set: string
  readonly most: number
}

const now = `local t = redis.call("TIME")
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

/** Takes all of them, or none: answers with 0, or with the number of the cap that is reached. */
export const take = Redis.script(
  (caps: ReadonlyArray<Cap>, member: string, lease: number) => [
    ...caps.map(({ set }) => set),
    member,
    lease,
    ...caps.map(({ most }) => most)
  ],
  {
    numberOfKeys: (caps) => caps.length,
    lua: `${now}
for i, set in ipairs(KEYS) do
  redis.call("ZREMRANGEBYSCORE", set, "-inf", now)
  if redis.call("ZCARD", set) >= tonumber(ARGV[i + 2]) then return i end
end
for _, set in ipairs(KEYS) do
  redis.call("ZADD", set, string.format("%.0f", now + ARGV[2]), ARGV[1])
  redis.call("PEXPIRE", set, 2 * ARGV[2])
end
return 0`
  }
).withReturnType<number>()

/** A member of a set. */
export type Held = readonly [set: string, member: string]

export const release = Redis.script(
  (held: ReadonlyArray<Held>) => [...held.map(([set]) => set), ...held.map(([, member]) => member)],
  {
    numberOfKeys: (held) => held.length,
    lua: `for i, set in ipairs(KEYS) do redis.call("ZREM", set, ARGV[i]) end
return 0`
  }
).withReturnType<number>()

/**
 * Says that these uses are still under way, and answers with how many were thought to be over. They are counted again: they
 * do run, so nobody else should be let in before they end.
 */
export const renew = Redis.script(
  (held: ReadonlyArray<Held>, lease: number) => [
    ...held.map(([set]) => set),
    lease,
    ...held.map(([, member]) => member)
  ],
  {
    numberOfKeys: (held) => held.length,
    lua: `${now}
local lapsed = 0
for i, set in ipairs(KEYS) do
  lapsed = lapsed + redis.call("ZADD", set, string.format("%.0f", now + ARGV[1]), ARGV[i + 1])
  redis.call("PEXPIRE", set, 2 * ARGV[1])
end
return lapsed`
  }
).withReturnType<number>()

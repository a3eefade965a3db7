/**
 * Permits in Redis: a sorted set for each key and account, with a member for each use and the time at which it lapses. The
 * member is the fencing token (M. Burrows, "The Chubby lock service", 2006, calls it a sequencer): it is never used twice, so
 * who comes back late cannot give back, or renew, the permit of another.
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

/** A use under way, as it is renewed. */
export interface Renewed {
  readonly member: string
  readonly caps: ReadonlyArray<Cap>
  /** It counts again whatever there is room for: it is known to run, and will not be cut off. */
  readonly force: boolean
}

/**
 * Says that these uses are still under way. One whose permit has lapsed is counted again where there is room, and is lost
 * where there is none: its permit is another's. Answers with how many had lapsed, and which of the uses, from 0, are lost.
 */
export const renew = Redis.script(
  (uses: ReadonlyArray<Renewed>, lease: number) => [
    ...uses.flatMap(({ caps }) => caps.map(({ set }) => set)),
    lease,
    ...uses.flatMap(({ caps, force, member }) => [
      member,
      force ? 1 : 0,
      caps.length,
      ...caps.map(({ most }) => most)
    ])
  ],
  {
    numberOfKeys: (uses) => uses.reduce((sum, { caps }) => sum + caps.length, 0),
    lua: `${now}
local till, keep = string.format("%.0f", now + ARGV[1]), 2 * ARGV[1]
local hold = function(set, member)
  redis.call("ZADD", set, till, member)
  redis.call("PEXPIRE", set, keep)
end
local late, key, arg, n = {}, 0, 2, 0
while ARGV[arg] do
  local use = { n = n, member = ARGV[arg], force = ARGV[arg + 1] == "1", sets = {}, most = {} }
  local there = true
  for i = 1, tonumber(ARGV[arg + 2]) do
    local set = KEYS[key + i]
    use.sets[i], use.most[i] = set, tonumber(ARGV[arg + 2 + i])
    if redis.call("ZSCORE", set, use.member) then hold(set, use.member) else there = false end
  end
  if not there then late[#late + 1] = use end
  key, arg, n = key + #use.sets, arg + 3 + #use.sets, n + 1
end
local lost = {}
for _, use in ipairs(late) do
  local room = true
  for i, set in ipairs(use.sets) do
    redis.call("ZREMRANGEBYSCORE", set, "-inf", now)
    room = room and (redis.call("ZSCORE", set, use.member) or redis.call("ZCARD", set) < use.most[i])
  end
  for _, set in ipairs(use.sets) do
    if room or use.force then hold(set, use.member) else redis.call("ZREM", set, use.member) end
  end
  if not (room or use.force) then lost[#lost + 1] = use.n end
end
return { #late, lost }`
  }
).withReturnType<readonly [lapsed: number, lost: ReadonlyArray<number>]>()

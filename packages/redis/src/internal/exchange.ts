/**
 * The one script by which a process tells what it knows and hears what the others know. Nothing runs beside it, it goes by
 * the time of Redis alone, and it is all of the traffic: one round trip, however many requests there were since the last.
 *
 * A fact is a field of a hash and has a version, which is that of the last fact of all and 1, or the time if that is more (a
 * hybrid logical clock: S. Kulkarni et al., "Logical Physical Clocks", 2014): a replica that is promoted without the last
 * facts does not give their versions to others. Who asks says up to which version it has heard, so nothing is lost between
 * two calls however far apart, and a newcomer asks from 0. What processes have in flight is kept as sums by key: the answer is
 * as long as the list of keys, not as that of processes.
 */
import * as Redis from "effect/persistence/Redis"

export interface Call {
  readonly prefix: string
  readonly process: string
  /** One more than in the last call that was answered: what was spent is not added twice. */
  readonly sequence: number
  /** A name for the memory of this Redis, should it have none. */
  readonly epoch: string
  /** The name of the memory that was heard up to `version`. */
  readonly heardEpoch: string
  readonly version: number
  /** Milliseconds after which a process that is silent is gone. */
  readonly expiry: number
  /** Milliseconds after which all is forgotten. */
  readonly keep: number
  /** For each key in use: in flight, nanodollars held, and set aside. */
  readonly load: Readonly<Record<string, readonly [number, number, number]>>
  /** Uses begun since the last call. */
  readonly begun: number
  /** For each key: nanodollars spent since the last call. */
  readonly spent: ReadonlyArray<readonly [string, number]>
  readonly facts: ReadonlyArray<Row>
}

/** A fact on its way to Redis. */
export interface Row {
  readonly field: string
  /** Whether of two deadlines the later one holds, or the newer fact holds whatever its deadline. */
  readonly mode: "later" | "newer"
  /** Milliseconds. */
  readonly remaining: number
  readonly keep: number
  readonly body: string
}

/** A fact as it comes from Redis: its body, milliseconds to its deadline, and milliseconds since it was told. */
export interface Heard {
  readonly body: string
  readonly remaining: number
  readonly age: number
}

export interface Total {
  inFlight: number
  held: number
  aside: number
  users: number
}

export interface Answer {
  readonly epoch: string
  readonly version: number
  readonly leads: boolean
  /** Processes that are alive, this one among them. */
  readonly processes: number
  readonly facts: ReadonlyArray<Heard>
  /** Over all processes, this one among them. */
  readonly totals: ReadonlyMap<string, Total>
  /** Uses begun over all processes, since this memory began. */
  readonly begun: number
  /** Nanodollars over all processes, since this memory began. */
  readonly spent: ReadonlyMap<string, number>
}

const keysOf = (prefix: string) => ({
  facts: `${prefix}facts`,
  versions: `${prefix}versions`,
  expiries: `${prefix}expiries`,
  meta: `${prefix}meta`,
  loads: `${prefix}loads`,
  alive: `${prefix}alive`,
  totals: `${prefix}totals`,
  spent: `${prefix}spent`,
  leader: `${prefix}leader`
})

const names = (prefix: string) => Object.values(keysOf(prefix))

/** Shared by both scripts: what a process has in flight is added to, or taken from, the sums. */
const common = `
local FACTS, VERSIONS, EXPIRIES, META, LOADS, ALIVE, TOTALS, SPENT, LEADER = unpack(KEYS)
local t = redis.call("TIME")
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- Adding 0 turns a negative zero into one that Redis takes for an integer.
local int = function(n) return string.format("%.0f", n + 0) end
local count = function(load, sign)
  for key, v in pairs(cjson.decode(load)) do
    redis.call("HINCRBY", TOTALS, "i:" .. key, int(sign * v[1]))
    redis.call("HINCRBY", TOTALS, "h:" .. key, int(sign * v[2]))
    redis.call("HINCRBY", TOTALS, "a:" .. key, int(sign * v[3]))
    if redis.call("HINCRBY", TOTALS, "u:" .. key, sign) <= 0 then
      redis.call("HDEL", TOTALS, "i:" .. key, "h:" .. key, "a:" .. key, "u:" .. key)
    end
  end
end
local forget = function(process)
  local old = redis.call("HGET", LOADS, process)
  if old then count(string.match(old, "^%d+|(.*)$"), -1) end
  redis.call("HDEL", LOADS, process)
  redis.call("ZREM", ALIVE, process)
end
`

const exchangeLua = `${common}
local process, sequence, epoch, heardEpoch, version = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local expiry, keep, load = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
if redis.call("HSETNX", META, "epoch", epoch) == 0 then epoch = redis.call("HGET", META, "epoch") end
if epoch ~= heardEpoch then version = 0 end

for _, dead in ipairs(redis.call("ZRANGEBYSCORE", ALIVE, "-inf", now)) do forget(dead) end
for _, field in ipairs(redis.call("ZRANGEBYSCORE", EXPIRIES, "-inf", now)) do
  redis.call("HDEL", FACTS, field)
  redis.call("ZREM", VERSIONS, field)
  redis.call("ZREM", EXPIRIES, field)
end

local old = redis.call("HGET", LOADS, process)
local counts, counted = nil, nil
if old then counts, counted = string.match(old, "^(%d+)|(.*)$") end
if counted ~= load then
  if counted then count(counted, -1) end
  count(load, 1)
end
redis.call("HSET", LOADS, process, sequence .. "|" .. load)
redis.call("ZADD", ALIVE, int(now + expiry), process)

if counts ~= sequence then redis.call("HINCRBY", META, "begun", ARGV[9]) end
local at = 10
local spent = tonumber(ARGV[at])
for i = 1, spent do
  if counts ~= sequence then redis.call("HINCRBY", SPENT, ARGV[at + 1], ARGV[at + 2]) end
  at = at + 2
end
at = at + 1
local last = tonumber(redis.call("HGET", META, "version") or "0")
for i = 1, tonumber(ARGV[at]) do
  local field, mode, till, keeps, body = ARGV[at + 1], ARGV[at + 2], now + ARGV[at + 3], now + ARGV[at + 4], ARGV[at + 5]
  at = at + 5
  local known = redis.call("HGET", FACTS, field)
  local theirs = known and tonumber(string.match(known, "^later:(%d+):"))
  if mode ~= "later" or not theirs or till > theirs then
    redis.call("HSET", FACTS, field, mode .. ":" .. int(till) .. ":" .. int(now) .. ":" .. body)
    last = math.max(last + 1, now * 1000)
    redis.call("ZADD", VERSIONS, int(last), field)
    redis.call("ZADD", EXPIRIES, int(keeps), field)
  end
end
redis.call("HSET", META, "version", int(last))

local leader = redis.call("GET", LEADER)
if not leader then
  redis.call("SET", LEADER, process, "PX", expiry)
  leader = process
elseif leader == process then
  redis.call("PEXPIRE", LEADER, expiry)
end
for i = 1, 8 do redis.call("PEXPIRE", KEYS[i], keep) end

local heard = {}
local fields = redis.call("ZRANGEBYSCORE", VERSIONS, "(" .. int(version), "+inf")
for _, field in ipairs(fields) do
  local till, told, body = string.match(redis.call("HGET", FACTS, field) or "", "^%a+:(%d+):(%d+):(.*)$")
  if till then
    heard[#heard + 1] = body
    heard[#heard + 1] = int(till - now)
    heard[#heard + 1] = int(now - told)
  end
end
return {
  epoch,
  last,
  leader == process and 1 or 0,
  redis.call("ZCARD", ALIVE),
  heard,
  redis.call("HGETALL", TOTALS),
  redis.call("HGETALL", SPENT),
  tonumber(redis.call("HGET", META, "begun"))
}
`

type Reply = readonly [
  epoch: string,
  version: number,
  leads: number,
  processes: number,
  heard: ReadonlyArray<string>,
  totals: ReadonlyArray<string>,
  spent: ReadonlyArray<string>,
  begun: number
]

export const exchange = Redis.script(
  (call: Call) => [
    ...names(call.prefix),
    call.process,
    call.sequence,
    call.epoch,
    call.heardEpoch,
    call.version,
    call.expiry,
    call.keep,
    JSON.stringify(call.load),
    call.begun,
    call.spent.length,
    ...call.spent.flat(),
    call.facts.length,
    ...call.facts.flatMap(({ field, mode, remaining, keep, body }) => [
      field,
      mode,
      Math.round(remaining),
      Math.round(keep),
      body
    ])
  ],
  { numberOfKeys: 9, lua: exchangeLua }
).withReturnType<Reply>()

const sumOf: Readonly<Record<string, keyof Total>> = {
  "i:": "inFlight",
  "h:": "held",
  "a:": "aside",
  "u:": "users"
}

export const answerOf = ([epoch, version, leads, processes, heard, sums, spentOf, begun]: Reply): Answer => {
  const facts: Array<Heard> = []
  for (let i = 0; i < heard.length; i += 3)
    facts.push({ body: heard[i]!, remaining: Number(heard[i + 1]), age: Number(heard[i + 2]) })
  const totals = new Map<string, Total>()
  for (let i = 0; i < sums.length; i += 2) {
    const [what, keyId] = [sums[i]!.slice(0, 2), sums[i]!.slice(2)]
    let total = totals.get(keyId)
    if (total === undefined) totals.set(keyId, (total = { inFlight: 0, held: 0, aside: 0, users: 0 }))
    total[sumOf[what]!] = Number(sums[i + 1])
  }
  const spent = new Map<string, number>()
  for (let i = 0; i < spentOf.length; i += 2) spent.set(spentOf[i]!, Number(spentOf[i + 1]))
  return { epoch, version, leads: leads === 1, processes, facts, totals, spent, begun }
}

/** A process goes, and need not be missed first. */
export const leave = Redis.script((prefix: string, process: string) => [...names(prefix), process], {
  numberOfKeys: 9,
  lua: `${common}
forget(ARGV[1])
if redis.call("GET", LEADER) == ARGV[1] then redis.call("DEL", LEADER) end
`
})

/** What each process has in flight. A script, because the shape of a plain answer depends on the client's protocol. */
export const loads = Redis.script((prefix: string) => [keysOf(prefix).loads], {
  numberOfKeys: 1,
  lua: `return redis.call("HGETALL", KEYS[1])`
}).withReturnType<ReadonlyArray<string>>()

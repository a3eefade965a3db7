/**
 * The reading of keys: all of them at an interval, one of them soon where there is a doubt, and those that are filled up
 * at a boundary right behind it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { HttpClient } from "effect/http"
import type { Key, KeyPool } from "@evenkeel/core"
import * as KeyInfo from "../../KeyInfo.ts"
import { readKey, type Unread } from "./readKey.ts"
import { isPeriod, nextReset } from "./resets.ts"

export interface PollerOptions {
  /** Milliseconds. */
  readonly interval: number
  /** Milliseconds by which `GET /key` may lag. */
  readonly lag: number
}

/** Readings at a time, of the round and of doubts each. */
const concurrency = 4
/** The least time between a reading of a key and the next one that a doubt asks for. */
const pause = 5_000
/** Keys that are all refused within this time are not all bad: OpenRouter is, or its address. */
const incident = 10_000
/** How long keys are out in an incident. */
const incidentBench = "30 seconds"
/** How long after a boundary caps are read again: clocks differ, and not all of the world should ask at midnight sharp. */
const afterReset = (r: number) => 1_000 + 3_000 * r

/** What is remembered of one key. */
interface Slot {
  /** When the last reading was asked for. */
  readAt: number
  /** Set while the last reading was a refusal. */
  refusedAt: number | undefined
  resetsAt: number | undefined
  /** Something happened that no reading was asked for since. */
  doubted: boolean
  /** A fiber sees to the doubt. */
  served: boolean
}

/** Reads for as long as the scope is open; answers with the function that voices a doubt. */
export const poll = Effect.fnUntraced(function* (
  client: HttpClient.HttpClient,
  baseUrl: string,
  pool: KeyPool.KeyPool["Service"],
  { interval, lag }: PollerOptions
) {
  const slots = new Map<string, Slot>()
  const slotOf = (id: string): Slot => {
    let slot = slots.get(id)
    if (slot === undefined) {
      slot = { readAt: -Infinity, refusedAt: undefined, resetsAt: undefined, doubted: false, served: false }
      slots.set(id, slot)
    }
    return slot
  }

  const readOne = Effect.fnUntraced(function* (key: Key.Key) {
    const slot = slotOf(key.id)
    const requestedAt = yield* Clock.currentTimeMillis
    slot.readAt = requestedAt
    slot.doubted = false
    const result = yield* Effect.result(Effect.catchDefect(readKey(client, baseUrl, key), died))
    if (result._tag === "Failure") {
      // What is known stays, and grows old by itself: a failed reading is neither an empty key nor a full one.
      yield* pool.creditFailed(key.id)
      if (result.failure.refused) yield* refuse(key.id, slot)
      return
    }
    const info = result.success
    slot.refusedAt = undefined
    slot.resetsAt = isPeriod(info.limit_reset) ? nextReset(info.limit_reset, requestedAt) : undefined
    yield* pool.credit(key.id, {
      remaining: info.limit_remaining ?? undefined,
      limit: info.limit ?? undefined,
      includesByok: info.include_byok_in_limit ?? undefined,
      // A management key is well, and still of no use for requests.
      accepted: info.is_management_key !== true,
      resetsAt: slot.resetsAt,
      freshFor: 2 * interval,
      requestedAt,
      lag
    })
    yield* pool.learn(key.id, {
      account: KeyInfo.account(info),
      workspace: info.workspace_id ?? undefined
    })
  })
  // A key that was removed meanwhile is the only way this can fail.
  const read = (key: Key.Key) => Effect.ignoreCause(readOne(key))

  const refuse = Effect.fnUntraced(function* (id: string, slot: Slot) {
    slot.refusedAt = yield* Clock.currentTimeMillis
    yield* pool.bench({ scope: "key", id, reason: "rejected" })
    const keys = yield* pool.keys
    const times = keys.map((key) => slots.get(key.id)?.refusedAt ?? -Infinity)
    // Of one key alone it cannot be told whether it is the key or the world.
    if (keys.length < 2 || !(Math.max(...times) - Math.min(...times) <= incident)) return
    for (const { id, ineligible } of (yield* pool.snapshot).keys) {
      if (ineligible?.scope !== "key" || ineligible.reason !== "rejected") continue
      yield* pool.readmit("key", id)
      yield* pool.bench({ scope: "key", id, reason: "rejected", for: incidentBench })
    }
  })

  const round = Effect.flatMap(pool.keys, (keys) => {
    const ids = new Set(keys.map((key) => key.id))
    for (const id of slots.keys()) if (!ids.has(id)) slots.delete(id)
    return Effect.forEach(keys, read, { concurrency, discard: true })
  })
  const tick = Effect.flatMap(Random.next, (r) => Effect.sleep(interval * (0.9 + 0.2 * r)))

  const scope = yield* Effect.scope
  const permits = yield* Semaphore.make(concurrency)
  /** Reads the key until no doubt is left: not at once after a reading, but never not at all. */
  const serve = (id: string, slot: Slot): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (!slot.doubted || slots.get(id) !== slot) {
        slot.served = false
        return Effect.void
      }
      const wait = slot.readAt + pause - now
      const step =
        wait > 0
          ? Effect.sleep(wait)
          : permits.withPermit(
              Effect.matchEffect(pool.key(id), {
                onFailure: () => Effect.sync(() => slots.delete(id)),
                onSuccess: read
              })
            )
      return Effect.andThen(step, serve(id, slot))
    })
  const see = (id: string) =>
    Effect.suspend(() => {
      const slot = slotOf(id)
      slot.doubted = true
      if (slot.served) return Effect.void
      slot.served = true
      return Effect.forkIn(serve(id, slot), scope)
    })

  const resets = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    // All periods end at midnight UTC.
    const midnight = nextReset("daily", now)
    yield* Effect.sleep(midnight - now)
    const filled = Array.from(slots).filter(
      ([, slot]) => slot.resetsAt !== undefined && slot.resetsAt <= midnight
    )
    const later = ([id]: readonly [string, Slot]) =>
      Effect.flatMap(Random.next, (r) => Effect.andThen(Effect.sleep(afterReset(r)), see(id)))
    yield* Effect.forEach(filled, later, { concurrency: "unbounded", discard: true })
  })

  const doubts = yield* Queue.sliding<string>(1024)
  const fork = (effect: Effect.Effect<unknown>) => Effect.forkIn(Effect.forever(effect), scope)
  yield* fork(Effect.andThen(round, tick))
  yield* fork(Effect.flatMap(Queue.take(doubts), see))
  yield* fork(resets)
  yield* Effect.forkIn(
    Stream.runForEach(pool.changes, (event) =>
      event._tag === "KeyAdded"
        ? see(event.keyId)
        : Effect.sync(() => void (event._tag === "KeyRemoved" && slots.delete(event.keyId)))
    ),
    scope
  )
  return { doubt: (id: string) => void Queue.offerUnsafe(doubts, id) }
})

const died = (cause: unknown): Effect.Effect<never, Unread> =>
  Effect.fail({ refused: false, status: undefined, cause })

/**
 * The reading of keys: all of them at an interval, one of them soon where there is a doubt, those that are filled up at a
 * boundary right behind it, and those that are benched before they return.
 *
 * The last is a probe that costs nothing. A key that was refused, or had spent its cap, is benched for a time; what the
 * reading tells of it is the truth, so no request is wasted on a key that is no better by then: it is refused again, and
 * benched on, or has no credit left. One that is well again returns with the next reading, whenever that is. For the rest
 * (a balance, a limit) the reading proves nothing, and a request has to.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { HttpClient } from "effect/http"
import { SharedFacts, type Key, type KeyPool, type PoolEvent } from "@evenkeel/core"
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
/**
 * How long before its return a benched key is read: twice the pause, so that the reading has been answered by then even if
 * the one before has only just been asked for.
 */
const ahead = 2 * pause
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
  /** A reading is under way. */
  reading: boolean
  /** When it is to be read because it returns from the bench soon after; `undefined` if it is not benched. */
  probeAt: number | undefined
  /** A fiber waits for that. */
  awaited: boolean
}

/** Reads for as long as the scope is open; answers with the function that voices a doubt. */
export const poll = Effect.fnUntraced(function* (
  client: HttpClient.HttpClient,
  baseUrl: string,
  pool: KeyPool.KeyPool["Service"],
  { interval, lag }: PollerOptions
) {
  /** Of processes that share their facts, one reads for all; what this one has reason to doubt it reads itself. */
  const { leads = () => true } = yield* SharedFacts.SharedFacts
  const ifLeading = (effect: Effect.Effect<unknown>) => Effect.suspend(() => (leads() ? effect : Effect.void))
  const slots = new Map<string, Slot>()
  const slotOf = (id: string): Slot => {
    let slot = slots.get(id)
    if (slot === undefined) {
      slot = {
        readAt: -Infinity,
        refusedAt: undefined,
        resetsAt: undefined,
        doubted: false,
        served: false,
        reading: false,
        probeAt: undefined,
        awaited: false
      }
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
  const read = (key: Key.Key) =>
    Effect.suspend(() => {
      const slot = slotOf(key.id)
      // Another reading of the key is under way; who voiced a doubt since it was asked for has a fiber that waits for it.
      if (slot.reading) return Effect.void
      slot.reading = true
      return Effect.ensuring(
        // A key that was removed meanwhile is the only way this can fail.
        Effect.ignoreCause(readOne(key)),
        Effect.sync(() => void (slot.reading = false))
      )
    })

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
      const wait = slot.reading ? pause : slot.readAt + pause - now
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

  /** Waits until shortly before the key returns, however often that is put off, and reads it then. */
  const probe = (id: string, slot: Slot): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const { probeAt } = slot
      if (probeAt !== undefined && probeAt > now && slots.get(id) === slot)
        return Effect.andThen(Effect.sleep(probeAt - now), probe(id, slot))
      slot.awaited = false
      slot.probeAt = undefined
      return probeAt === undefined || slots.get(id) !== slot ? Effect.void : ifLeading(see(id))
    })
  const benched = (id: string, until: number) =>
    Effect.suspend(() => {
      const slot = slotOf(id)
      slot.probeAt = until - ahead
      if (slot.awaited) return Effect.void
      slot.awaited = true
      return Effect.forkIn(probe(id, slot), scope)
    })
  const heard = (event: PoolEvent.PoolEvent): Effect.Effect<unknown> => {
    switch (event._tag) {
      case "KeyAdded":
        return ifLeading(see(event.keyId))
      case "KeyRemoved":
        return Effect.sync(() => slots.delete(event.keyId))
      case "Benched": {
        const { id, reason, scope, until, within } = event
        const proves = scope === "key" && within === undefined && provable.has(reason)
        return proves && until < Infinity ? benched(id, until) : Effect.void
      }
      case "Readmitted": {
        // A bench for some upstreams only leaves that of the whole key as it is.
        const slot = event.scope === "key" && event.within === undefined ? slots.get(event.id) : undefined
        if (slot !== undefined) slot.probeAt = undefined
        return Effect.void
      }
      default:
        return Effect.void
    }
  }

  const doubts = yield* Queue.sliding<string>(1024)
  const fork = (effect: Effect.Effect<unknown>) => Effect.forkIn(Effect.forever(effect), scope)
  yield* fork(Effect.andThen(ifLeading(round), tick))
  yield* fork(Effect.flatMap(Queue.take(doubts), see))
  yield* fork(resets)
  yield* Effect.forkIn(Stream.runForEach(pool.changes, heard), scope)
  return { doubt: (id: string) => void Queue.offerUnsafe(doubts, id) }
})

/** What a reading can prove to be over. */
const provable: ReadonlySet<string> = new Set(["rejected", "exhausted"])

const died = (cause: unknown): Effect.Effect<never, Unread> =>
  Effect.fail({ refused: false, status: undefined, cause })

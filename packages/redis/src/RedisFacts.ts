/**
 * Shared facts through Redis: local decisions, shared facts. One layer turns it on, and nothing else changes.
 *
 * Each process tells what it has learnt, and hears what the others have, in one round trip per `flush`, whatever the rate
 * of requests. A pick never waits for it. Redis gone, each goes on with what it knows; Redis back, they tell each other what
 * they have learnt meanwhile.
 *
 * Sources: gossip of failure detectors (A. Das et al., "SWIM", 2002) for the separation of what is known from how it is
 * spread; the lease with a token and a time (C. Gray, D. Cheriton, "Leases", 1989) for the election.
 */
import { SharedFacts } from "@evenkeel/core"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Redis from "effect/persistence/Redis"
import * as Stream from "effect/Stream"
import { Board } from "./internal/board.ts"
import { answerOf, exchange, leave, loads } from "./internal/exchange.ts"
import { reasonOf } from "./internal/failure.ts"
import { processName } from "./internal/processName.ts"
import { millisOf, prefixOf } from "./internal/ranges.ts"
import { Sharing, type Member, type State } from "./Sharing.ts"

/**
 * Options of sharing. All processes of a fleet should have the same.
 */
export interface Options {
  /** Fleets of one namespace share facts; default `default`. Ids of keys must mean the same in all of it. */
  readonly namespace?: string | undefined
  /**
   * How often facts are told and heard: 10 milliseconds to 10 seconds. Default 100 milliseconds: a tenth of the second
   * within which a refused key should be known to all, at 10 round trips a second.
   */
  readonly flush?: Duration.Input | undefined
  /**
   * How long a process may be silent before what it has in flight no longer counts, and another reads credit: at least
   * three times `flush`, up to 5 minutes. Default 3 seconds: longer than pauses of garbage collection.
   */
  readonly heartbeat?: Duration.Input | undefined
  /** How long an answer may take: 10 milliseconds to 10 seconds. Default 500 milliseconds. */
  readonly timeout?: Duration.Input | undefined
}

/** 1 while facts are shared, 0 while the process is alone. */
export const connected = Metric.gauge("evenkeel_sharing_connected", {
  description: "Whether facts are shared with other processes: 1, or 0 while the process is alone"
})

/** Round trips to Redis for sharing. */
export const roundTrips = Metric.counter("evenkeel_sharing_round_trips", {
  description: "Round trips to Redis for sharing facts",
  incremental: true
})

/** What is kept of a fleet that is gone. */
const keep = 86_400_000
/** The longest pause between two attempts while Redis is away. */
const maxPause = 1_000

const settingsOf = (options: Options) => {
  const flush = millisOf("flush", options.flush ?? "100 millis", 10, 10_000)
  return {
    prefix: prefixOf(options.namespace ?? "default"),
    flush,
    expiry: Math.round(
      millisOf("heartbeat", options.heartbeat ?? Math.max(3_000, 3 * flush), 3 * flush, 300_000)
    ),
    timeout: millisOf("timeout", options.timeout ?? "500 millis", 10, 10_000)
  }
}
type Settings = ReturnType<typeof settingsOf>

const make = Effect.fnUntraced(function* ({ prefix, flush, expiry, timeout }: Settings) {
  const redis = yield* Redis.Redis
  const process = yield* processName
  const board = new Board(process)
  const hub = yield* PubSub.sliding<State>(64)
  const clock = yield* Clock.Clock
  const startedAt = clock.currentTimeMillisUnsafe()
  let state: State = { _tag: "Alone", since: startedAt, reason: "starting" }
  let heardAt = startedAt
  let [reconnects, processes, trips, tripMillis, failures] = [0, 1, 0, 0, 0]
  let leadsUntil = 0
  let forgotten = true

  const become = (next: State) => {
    state = next
    return Effect.andThen(
      Metric.update(connected, next._tag === "Connected" ? 1 : 0),
      PubSub.publish(hub, next)
    )
  }
  const ask = redis.eval(exchange)

  /** Tells and hears. */
  const round = Effect.gen(function* () {
    const epoch = yield* processName
    const before = yield* Clock.currentTimeMillis
    const told = board.told()
    const call = board.call(epoch, before)
    trips++
    yield* Metric.update(roundTrips, 1)
    const reply = yield* ask({ ...call, prefix, process, expiry, keep }).pipe(Effect.timeout(timeout))
    const now = yield* Clock.currentTimeMillis
    const answer = answerOf(reply)
    tripMillis = Math.max(0, now - before)
    leadsUntil = answer.leads ? before + expiry : 0
    processes = answer.processes
    heardAt = now
    failures = 0
    forgotten = false
    board.answered(call, told, answer, before, now)
    if (state._tag === "Alone") {
      if (state.reason !== "starting") reconnects++
      yield* become({ _tag: "Connected", since: now })
    }
  }).pipe(
    Effect.catch((error) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        failures++
        board.failed(now)
        if (state._tag === "Connected" || state.reason === "starting")
          yield* become({ _tag: "Alone", since: now, reason: reasonOf(error) })
        // The others are still there, but what they have in flight is anybody's guess by now.
        if (forgotten) return
        if (now - heardAt < expiry) return board.missed()
        forgotten = true
        processes = 1
        board.alone()
      })
    )
  )
  const pause = Effect.suspend(() => {
    const millis = failures === 0 ? flush : Math.min(flush * 2 ** failures, Math.max(flush, maxPause))
    return Effect.sleep(millis)
  })

  // What was in force before this process came is known before its first request; without Redis nobody waits long.
  yield* round
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(pause, round)))
  yield* Effect.addFinalizer(() =>
    Effect.andThen(round, redis.eval(leave)(prefix, process).pipe(Effect.timeout(timeout))).pipe(
      Effect.ignore,
      Effect.when(Effect.sync(() => state._tag === "Connected"))
    )
  )

  /** Alone, each reads for itself: nobody else will tell. Who was stopped for longer than its term leads no more. */
  const leads = () => state._tag === "Alone" || clock.currentTimeMillisUnsafe() < leadsUntil
  const facts: SharedFacts.SharedFacts = {
    name: "redis",
    publish: board.publish,
    attach: board.attach,
    leads,
    facts: Stream.callback<SharedFacts.Fact>((queue) =>
      Effect.acquireRelease(
        Effect.sync(() => board.listen((fact) => void Queue.offerUnsafe(queue, fact))),
        (stop) => Effect.sync(stop)
      )
    )
  }
  const sharing = Sharing.of({
    process,
    snapshot: Effect.map(Clock.currentTimeMillis, (now) => ({
      state,
      reconnects,
      processes,
      leads: leads(),
      waiting: board.waiting,
      roundTrips: trips,
      roundTripMillis: tripMillis,
      lag: Math.max(0, now - heardAt)
    })),
    changes: Stream.fromPubSub(hub),
    fleet: Effect.map(redis.eval(loads)(prefix), membersOf)
  })
  return Context.make(Sharing, sharing).pipe(Context.add(SharedFacts.SharedFacts, facts))
})

const membersOf = (pairs: ReadonlyArray<string>): ReadonlyArray<Member> => {
  const members: Array<Member> = []
  for (let i = 0; i < pairs.length; i += 2) {
    const load: Record<string, readonly [number, number, number]> = JSON.parse(
      pairs[i + 1]!.replace(/^\d+\|/, "")
    )
    const inFlight = Object.fromEntries(Object.entries(load).map(([keyId, [count]]) => [keyId, count]))
    members.push({ process: pairs[i]!, inFlight })
  }
  return members.toSorted((a, b) => (a.process < b.process ? -1 : 1))
}

/**
 * The layer that shares the facts of the pool, and of the circuit breaker, with all processes of the namespace.
 *
 * **When to use**
 *
 * As soon as a second process uses the same keys.
 *
 * **Details**
 *
 * It dies with a `RangeError` that names an option that is out of its range. When the process ends, it says so; killed, it
 * is missed after `heartbeat`.
 *
 * **Gotchas**
 *
 * Provide it to the pool and to the circuit breaker, one and the same layer to both. With `NodeRedis` set
 * `disableOfflineQueue`: without it, commands wait for a Redis that is away instead of failing. `NodeRedis.layer` fails when
 * Redis is away at start; `RedisConnection.patient` does not.
 */
export const layer = (options: Options = {}): Layer.Layer<Sharing, never, Redis.Redis> =>
  Layer.effectContext(Effect.suspend(() => make(settingsOf(options))))

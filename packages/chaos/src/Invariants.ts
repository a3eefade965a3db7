/**
 * What must hold at the end of every run, whatever happened in it. Each violation is a sentence; none is the good news.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { eventually, model, now, type Asked } from "./Load.ts"
import type { Event } from "./Records.ts"
import type { World } from "./World.ts"

type Tagged<Tag extends Event["_tag"]> = Extract<Event, { readonly _tag: Tag }>

const ofTag = <Tag extends Event["_tag"]>(events: ReadonlyArray<Event>, tag: Tag) =>
  events.filter((event): event is Tagged<Tag> => event._tag === tag)

const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0)

/** Sums of floating point numbers are equal up to this. */
const epsilon = 1e-9

/** What a request of this load costs at most, in USD: its prompt, and 60 tokens of answer. */
const dearest = 60 * 0.0000006 + 60 * 0.00000015

/** Every request has ended once, and in a way that its caller can understand. */
export const ofRequests = (asked: ReadonlyArray<Asked>): ReadonlyArray<string> => {
  const typed = new Set(["OpenRouterError", "NoEligibleKey", "DeadlineExceeded", "PermitLost"])
  return asked.flatMap(({ ending, endings, error, kind }, n) => {
    if (endings !== 1 || ending === undefined) return [`request ${n} (${kind}) has ended ${endings} times`]
    if (ending === "wrong") return [`request ${n} (${kind}) got the answer to another`]
    if (ending === "died") return [`request ${n} (${kind}) has died: ${String(error)}`]
    if (ending === "interrupted" && !kind.startsWith("interrupted"))
      return [`request ${n} (${kind}) was interrupted by somebody else`]
    if (ending === "failed" && !typed.has((error as { readonly _tag?: string } | undefined)?._tag ?? ""))
      return [`request ${n} (${kind}) has failed with what is no error of ours: ${String(error)}`]
    return []
  })
}

/** Nothing is in flight, nobody waits, and no policy holds anything. */
export const ofRest = Effect.fnUntraced(function* ({ circuits, pacing, pool, simulator }: World) {
  const { keys, waiting } = yield* pool.snapshot
  const found: Array<string> = []
  if (waiting !== 0) found.push(`${waiting} requests wait`)
  for (const { faulted, id, ignored, ineligible, inFlight, leased, succeeded } of keys) {
    if (inFlight !== 0) found.push(`${inFlight} requests are in flight on ${id}`)
    if (leased !== succeeded + faulted + ignored) found.push(`${id} has lost a lease`)
    if (ineligible?.reason === "probing") found.push(`the probe of ${id} was not given back`)
  }
  for (const { id, scope, state } of yield* circuits.troubled)
    if (state._tag === "HalfOpen" && state.probing)
      found.push(`the circuit of the ${scope} ${id} has lost its probe`)
  if (pacing !== undefined) {
    const states = yield* pacing.state
    for (const [id, { inFlight }] of [...states.keys, ...states.accounts])
      if (inFlight !== 0) found.push(`the limiter of ${id} has lost ${inFlight} permits`)
  }
  // The other side hears of the end a moment later.
  const quiet = simulator.waitUntil(({ inFlight }) => inFlight === 0)
  const { inFlight } = yield* Effect.timeoutOrElse(quiet, {
    duration: "5 seconds",
    orElse: () => simulator.snapshot
  })
  if (inFlight !== 0) found.push(`${inFlight} requests go on at OpenRouter`)
  return found
})

/** Each lease was picked once and settled once, and the attempts kept to the budget. */
export const ofAttempts = (
  { options, records, since }: World,
  asked: ReadonlyArray<Asked>,
  endedAt: number
): ReadonlyArray<string> => {
  const { events } = records
  const found: Array<string> = []
  const picked = ofTag(events, "Picked").length
  const settled = ofTag(events, "Settled").length
  if (picked !== settled) found.push(`${picked} leases were opened, and ${settled} settled`)
  const budget = options.retry?.budget
  const { perSecond = 10, ratio = 0.2 } = typeof budget === "object" && !("deposit" in budget) ? budget : {}
  // The budget holds the floor of a window, 10 seconds, from its beginning on.
  const seconds = (endedAt - since) / 1000 + 10
  const rotations = ofTag(events, "Rotated").length
  const copies = ofTag(events, "Hedged").length
  const most = asked.length * (1 + ratio) + perSecond * seconds + rotations + copies
  if (picked > most) found.push(`${picked} attempts, of ${most} that the budget allows`)
  return found
}

/** No cap was overrun, and what was billed is what the pool has counted, as far as answers told it. */
export const ofMoney = Effect.fnUntraced(function* ({ pool, records, simulator }: World) {
  const found: Array<string> = []
  const { keys } = yield* simulator.snapshot
  for (const { limitRemaining, name } of keys)
    if (limitRemaining !== null && limitRemaining < -epsilon)
      found.push(`the cap of ${name} was overrun by ${-limitRemaining} USD`)
  const settled = ofTag(records.events, "Settled")
  const counted = sum(settled.map(({ outcome }) => outcome.cost ?? 0))
  const unknown = settled.filter(({ outcome }) => outcome.cost === undefined).length
  const billed = sum(keys.map((key) => key.usage))
  if (counted > billed + epsilon) found.push(`${counted} USD were counted, and ${billed} USD billed`)
  if (billed > counted + unknown * dearest + epsilon)
    found.push(`${billed} USD were billed, and ${counted} USD counted, with ${unknown} uses of unknown cost`)
  const present = yield* pool.snapshot
  const ids = new Set(present.keys.map((key) => key.id))
  const spent = sum(present.keys.map((key) => key.spent))
  const told = sum(settled.filter(({ keyId }) => ids.has(keyId)).map(({ outcome }) => outcome.cost ?? 0))
  if (Math.abs(spent - told) > epsilon) found.push(`the pool has counted ${spent} USD of ${told} USD`)
  return found
})

/** The share of the requests that went to these keys. */
export const shareOf = Effect.fnUntraced(function* ({ simulator }: World, names: ReadonlyArray<string>) {
  const { keys } = yield* simulator.snapshot
  const all = sum(keys.map((key) => key.requests))
  return sum(keys.filter(({ name }) => names.includes(name)).map((key) => key.requests)) / all
})

/** All of them, of a run that has ended. It leaves the world closed. */
export const check = Effect.fnUntraced(function* (world: World, asked: ReadonlyArray<Asked>) {
  const endedAt = yield* now
  const rest = yield* ofRest(world)
  // Events reach who listens a moment after they happened.
  const { events } = world.records
  const told = eventually(
    Effect.sync(() => ofTag(events, "Picked").length - ofTag(events, "Settled").length),
    (open) => open === 0
  )
  yield* Effect.timeoutOption(told, "2 seconds")
  const found = [
    ...ofRequests(asked),
    ...rest,
    ...ofAttempts(world, asked, endedAt),
    ...(yield* ofMoney(world)),
    ...(yield* ofPermits(world)),
    ...(yield* ofSilence(world)),
    ...world.records.rejections.map((reason) => `a promise was rejected, and nobody heard: ${String(reason)}`)
  ]
  // One of a kind tells as much as a thousand.
  return found.slice(0, 20)
})

/** When the trouble is over every permit can be taken again: all at the same time. */
export const ofPermits = Effect.fnUntraced(function* (world: World) {
  const { balancer, circuits, pacing, pool, simulator } = world
  yield* simulator.clearFaults
  for (const { name } of (yield* simulator.snapshot).keys) {
    yield* simulator.setKey(name, { limit: null })
    yield* simulator.restore(name)
  }
  for (const circuit of yield* circuits.troubled) yield* circuits.reset(circuit)
  const { keys } = yield* pool.snapshot
  for (const scope of ["host", "upstream"] as const)
    yield* pool.readmit(scope, scope === "host" ? "host" : model)
  for (const { account, id, workspace } of keys) {
    yield* Effect.ignore(pool.resume(id))
    yield* Effect.ignore(pool.credit(id, { remaining: undefined }))
    for (const [scope, owner] of [
      ["key", id],
      ["account", account],
      ["workspace", workspace]
    ] as const)
      if (owner !== undefined) yield* pool.readmit(scope, owner)
  }
  // What throttles have taught a limiter stays, and its limits are its own.
  if (pacing !== undefined) return []
  const permits = sum(keys.map((key) => key.maxInFlight))
  let [held, most] = [0, 0]
  const allAtOnce = Effect.timeoutOption(
    eventually(
      Effect.sync(() => most),
      (count) => count >= permits
    ),
    "100 millis"
  )
  const use = Effect.suspend(() => {
    most = Math.max(most, ++held)
    return Effect.ensuring(
      allAtOnce,
      Effect.sync(() => held--)
    )
  })
  const hold = balancer.use(() => use, { maxWait: "1 second", timeout: "2 seconds" })
  // What has just returned is given little at first, so it may take a few rounds.
  const round = Effect.forEach(Array.from({ length: permits }), () => Effect.ignore(hold), {
    concurrency: "unbounded",
    discard: true
  })
  yield* Effect.repeat(round, { times: 20, until: () => most >= permits })
  return most === permits ? [] : [`of ${permits} permits only ${most} can be taken`]
})

/** Once our side is closed nothing comes from it any more. */
export const ofSilence = Effect.fnUntraced(function* ({ close, simulator }: World) {
  const [key] = simulator.keys
  // A request of somebody else: once it is answered, the other side has read what was sent before it.
  const knock = Effect.promise(() =>
    fetch(`${simulator.baseUrl}/key`, {
      headers: { authorization: `Bearer ${key === undefined ? "" : Redacted.value(key.secret)}` }
    }).then((response) => response.text())
  )
  const heard = Effect.map(simulator.snapshot, ({ keys }) => sum(keys.map((key) => key.requests + key.reads)))
  yield* close
  yield* knock
  const before = yield* heard
  yield* knock
  const after = (yield* heard) - before - 1
  return after === 0 ? [] : [`${after} requests came after the end`]
})

/**
 * The search for a key: at once, on one upstream or the next, or in the queue.
 */
import * as Effect from "effect/Effect"
import * as Outcome from "../Outcome.ts"
import type { Call, Refusal } from "./call.ts"
import type { OpenLease } from "./openLease.ts"
import { millisOf, numberOf } from "./ranges.ts"
import type { Prospect, Waiter } from "./waitRoom.ts"

/** Opens a lease, waiting in the queue if a key may serve before long. Interruptible only while it waits. */
export const open = (call: Call): Effect.Effect<OpenLease, Refusal> => {
  const { engine } = call.room
  if (call.now() >= call.deadline) return Effect.fail(call.exceeded(undefined))
  // Whoever waits for a time that has come goes first.
  if (engine.waiting.size > 0 && engine.options.due(call.now())) engine.waiting.wake()
  const lease = acquire(call)
  return lease === undefined ? queue(call) : Effect.succeed(lease)
}

const acquire = (call: Call): OpenLease | undefined => {
  const { engine } = call.room
  if (call.options?.alternatives === undefined) return opened(call, engine.acquire(call.demand()))
  for (const upstream of call.upstreams()) {
    const demand = call.demand(upstream)
    const lease = engine.acquire(demand)
    if (lease !== undefined) return opened(call, lease)
    // An alternative is for an upstream that is out. Where keys are merely busy they soon serve what was asked for.
    if (engine.prospect(demand)?.busy === true) return undefined
  }
  return undefined
}

const opened = (call: Call, lease: OpenLease | undefined): OpenLease | undefined => {
  const { events } = call.room
  if (lease === undefined) return undefined
  call.begin(lease)
  if (!events.heard) return lease
  const { attempt } = call
  lease.report(events, attempt)
  const { context, entry, key } = lease
  const { nowMillis: at, upstream } = context
  const { account, id: keyId } = key
  const { inFlight } = entry
  const delayMillis = Math.max(0, at - call.idleSince)
  events.emit({ _tag: "Picked", at, keyId, account, upstream, attempt, inFlight, delayMillis })
  return lease
}

/** What a request can hope for, over all the upstreams that may serve it. */
const prospectOf = (call: Call, nowMillis: number): Prospect | undefined => {
  const { engine } = call.room
  let busy = false
  let returns = Infinity
  let until = Infinity
  for (const upstream of call.upstreams()) {
    const prospect = engine.prospect(call.demand(upstream, nowMillis))
    if (prospect === undefined) continue
    busy ||= prospect.busy
    returns = Math.min(returns, prospect.returns)
    until = Math.min(until, prospect.until)
  }
  return busy || returns < Infinity ? { busy, returns, until } : undefined
}

const queue = (call: Call): Effect.Effect<OpenLease, Refusal> => {
  const { options, room } = call
  const { waiting } = room.engine
  const startedAt = call.now()
  const maxWait = options?.maxWait === undefined ? room.maxWait : millisOf("maxWait", options.maxWait)
  const priority = options?.priority === undefined ? 0 : numberOf("priority", options.priority)
  const giveUpAt = Math.min(startedAt + (maxWait ?? Infinity), call.deadline)
  const patience = maxWait ?? Math.max(0, room.patience - call.waited)
  const latest = Math.min(startedAt + patience, giveUpAt)
  /** Waiting pays for as long as a use may free a key, or one returns before the request gives up. */
  const hope = (nowMillis: number): Prospect | undefined => {
    const prospect = prospectOf(call, nowMillis)
    return prospect?.busy === true || (prospect !== undefined && prospect.returns <= latest)
      ? prospect
      : undefined
  }
  const prospect = giveUpAt > startedAt ? hope(startedAt) : undefined
  // A full queue answers at once, unless there is somebody less urgent in it.
  const full = () => waiting.size >= room.maxWaiting && waiting.lastBelow(priority) === undefined
  if (prospect === undefined || full()) return Effect.fail(call.refusal(startedAt))
  const { woken } = waiting
  const { busy, until } = prospect
  // After a while, what refused this request may have changed its mind.
  if (!busy) call.tried = undefined
  if (room.events.heard) {
    const known = until === Infinity ? undefined : until
    const upstream = options?.upstream
    room.events.emit({ _tag: "Queued", at: startedAt, upstream, priority, until: known })
  }
  let given: OpenLease | undefined
  let hopelessAt: number | undefined
  const turn = Effect.callback<OpenLease, Refusal>((resume) => {
    const waiter: Waiter = {
      priority,
      lane: laneOf(call),
      acquire: () => acquire(call),
      prospect: () => {
        const nowMillis = call.now()
        const prospect = hope(nowMillis)
        if (prospect === undefined) hopelessAt = nowMillis
        return prospect
      },
      answer: (lease) => {
        given = lease
        const answer = lease === undefined ? Effect.fail(call.refusal(hopelessAt)) : Effect.succeed(lease)
        return () => resume(answer)
      },
      die: (defect) => resume(Effect.die(defect))
    }
    // The fiber may have yielded on its way here.
    if (full()) return resume(Effect.fail(call.refusal()))
    const last = waiting.size >= room.maxWaiting ? waiting.lastBelow(priority) : undefined
    waiting.enter(waiter, until)
    // It goes once its place is taken, or it could come back into it.
    if (last !== undefined) waiting.dismiss(last)
    if (waiting.woken !== woken) waiting.wake()
    return Effect.sync(() => waiting.leave(waiter))
  })
  return call.restore(giveUpAt === Infinity ? turn : bounded(call, turn, giveUpAt - startedAt)).pipe(
    Effect.onExit((exit) =>
      Effect.sync(() => {
        if (!busy) call.waited += Math.max(0, call.now() - startedAt)
        // Interrupted after the lease was given and before it was taken: nobody else will settle it.
        if (exit._tag === "Failure") given?.settleUnsafe(Outcome.ignored(0))
      })
    )
  )
}

const bounded = (call: Call, turn: Effect.Effect<OpenLease, Refusal>, millis: number) =>
  Effect.timeoutOrElse(turn, {
    duration: millis,
    orElse: () =>
      Effect.suspend(() =>
        Effect.fail(call.now() >= call.deadline ? call.exceeded(undefined) : call.refusal())
      )
  })

/** Alike are requests for the same upstream that have no facts of their own. */
const laneOf = ({ options, tried }: Call): string | undefined =>
  options?.filter !== undefined || options?.alternatives !== undefined || tried !== undefined
    ? undefined
    : (options?.upstream ?? "")

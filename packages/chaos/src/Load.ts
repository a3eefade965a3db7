/**
 * Requests as programs make them: whole answers, streams, streams that are given up, and fibers that are interrupted.
 */
import type { BalancerEvent } from "@evenkeel/core"
import { ChatChunk, ChatRequest, ChatResponse, OpenRouterError } from "@evenkeel/openrouter"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { wholeOf } from "./Seed.ts"
import type { World } from "./World.ts"

/** A way to ask. */
export type Kind = "chat" | "stream" | "abandoned stream" | "interrupted chat" | "interrupted stream"

/** How many of each, in proportion. */
export type Mix = Readonly<Partial<Record<Kind, number>>>

/** Everything that a caller may do. */
export const everything: Mix = {
  chat: 5,
  stream: 3,
  "abandoned stream": 1,
  "interrupted chat": 1,
  "interrupted stream": 1
}

/** Callers who wait for their answer. */
export const patient: Mix = { chat: 3, stream: 1 }

export interface Asked {
  readonly kind: Kind
  /** How it ended; `undefined` while it is under way. */
  ending: "answered" | "failed" | "interrupted" | "wrong" | "died" | undefined
  /** How often it ended. */
  endings: number
  error: unknown
}

export interface Options {
  readonly requests: number
  readonly concurrency: number
  readonly mix?: Mix
}

export const model = "openai/gpt-4o-mini"

const wordsOf = (n: number) => `request ${n} of many more that are to come`
const answerOf = (n: number) => `You said: ${wordsOf(n)}`

/** Asks so many times; fails with nothing, for what became of each request is in the result. */
export const run = (
  world: World,
  { concurrency, mix = everything, requests }: Options
): Effect.Effect<ReadonlyArray<Asked>> => {
  const kinds = Object.entries(mix).flatMap(([kind, share]) =>
    Array.from({ length: share }, () => kind as Kind)
  )
  const all = Array.from({ length: requests }, (): Asked => {
    const kind = kinds[Math.floor(world.random() * kinds.length)] ?? "chat"
    return { kind, ending: undefined, endings: 0, error: undefined }
  })
  const one = (asked: Asked, n: number) =>
    Effect.flatMap(Effect.forkChild(program(world, asked.kind, n), { startImmediately: true }), (fiber) =>
      Effect.map(
        asked.kind.startsWith("interrupted")
          ? Effect.sleep(wholeOf(world.random, 0, 12)).pipe(
              Effect.andThen(Fiber.interrupt(fiber)),
              Effect.andThen(Fiber.await(fiber))
            )
          : Fiber.await(fiber),
        (exit) => note(world, asked, exit)
      )
    )
  return Effect.as(
    world.records.recording(Effect.forEach(all, (asked, n) => one(asked, n), { concurrency, discard: true })),
    all
  )
}

/** As a program would have it: in a span, and what goes wrong is logged. */
const program = (world: World, kind: Kind, n: number) =>
  ask(world, kind, n).pipe(
    Effect.tapCause((cause) => Effect.logWarning("A request has failed", cause)),
    Effect.withSpan(kind, { attributes: { n } })
  )

const note = (world: World, asked: Asked, exit: Exit.Exit<boolean, unknown>): void => {
  asked.endings++
  if (exit._tag === "Success") {
    asked.ending = exit.value ? "answered" : "wrong"
    return
  }
  const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  asked.ending = Cause.hasInterruptsOnly(exit.cause)
    ? "interrupted"
    : exit.cause.reasons.some((reason) => reason._tag === "Die")
      ? "died"
      : "failed"
  asked.error = failure?.error ?? exit.cause
  if (asked.ending !== "interrupted") world.records.errors.push(asked.error)
}

/** Asks once, and says whether what came is the answer to this request and no other. */
const ask = ({ openrouter, random }: World, kind: Kind, n: number): Effect.Effect<boolean, unknown> => {
  const request = ChatRequest.ask(model, wordsOf(n))
  const bounded = { ...request, max_tokens: 60 }
  if (kind === "chat" || kind === "interrupted chat") {
    return Effect.map(openrouter.chat(bounded), (response) => ChatResponse.text(response) === answerOf(n))
  }
  const texts = Stream.map(openrouter.chatStream(bounded), ChatChunk.text)
  if (kind === "abandoned stream") {
    return texts.pipe(
      Stream.take(wholeOf(random, 1, 6)),
      Stream.mkString,
      Effect.map((text) => answerOf(n).startsWith(text)),
      // What broke must have told the truth so far.
      Effect.catch((error) => truth(error, n))
    )
  }
  return texts.pipe(
    Stream.mkString,
    Effect.map((text) => text === answerOf(n)),
    Effect.catch((error) => truth(error, n))
  )
}

const truth = (error: unknown, n: number): Effect.Effect<boolean, unknown> => {
  const text =
    error instanceof OpenRouterError.OpenRouterError && error.reason._tag === "Broken"
      ? error.reason.text
      : ""
  return answerOf(n).startsWith(text) ? Effect.fail(error) : Effect.succeed(false)
}

/** The first success that was picked at this time or later, in milliseconds since the epoch. */
export const firstSuccess = (world: World, since: number): number | undefined => {
  const settled = world.records.events.find(
    (event): event is Extract<BalancerEvent.BalancerEvent, { readonly _tag: "Settled" }> =>
      event._tag === "Settled" && event.outcome._tag === "Success" && event.at - event.elapsedMillis >= since
  )
  return settled === undefined ? undefined : settled.at - settled.elapsedMillis
}

/** Looks again and again until it holds; whoever waits sets the limit. */
export const eventually = <A>(effect: Effect.Effect<A>, holds: (value: A) => boolean): Effect.Effect<A> =>
  Effect.flatMap(effect, (value) =>
    holds(value) ? Effect.succeed(value) : Effect.andThen(Effect.sleep(1), eventually(effect, holds))
  )

export const now = Clock.currentTimeMillis

/** How late timers come while the scope is open, in milliseconds. */
export const lag: Effect.Effect<{ readonly worst: number }, never, Scope.Scope> = Effect.gen(function* () {
  const found = { worst: 0 }
  const tick = Effect.gen(function* () {
    const before = yield* now
    yield* Effect.sleep(5)
    found.worst = Math.max(found.worst, (yield* now) - before - 5)
  })
  yield* Effect.forkScoped(Effect.forever(tick))
  return found
})

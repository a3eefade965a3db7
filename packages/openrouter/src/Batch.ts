/**
 * Many requests at once: bounded, in order or as they complete, one result for each.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as ChatRequest from "./ChatRequest.ts"
import * as ChatResponse from "./ChatResponse.ts"
import { OpenRouter, type CallError, type CallOptions } from "./OpenRouter.ts"
import { InvalidOption } from "./OpenRouterError.ts"

/**
 * What became of one request of a batch. One failure never loses the others.
 */
export interface Item<A, E> {
  /** The position of the request in the batch, from 0. */
  readonly index: number
  readonly result: Result.Result<A, E>
  readonly durationMillis: number
}

/**
 * How a batch is doing. Costs are in USD, times in milliseconds.
 */
export type Progress =
  | { readonly _tag: "Started"; readonly index: number; readonly progress: Counts }
  | { readonly _tag: "Finished"; readonly index: number; readonly ok: boolean; readonly progress: Counts }
  /** Nothing more will come: the batch is through, was stopped, or its requests failed to arrive. */
  | { readonly _tag: "Ended"; readonly progress: Counts }

/** The counts of a batch so far. */
export interface Counts {
  /** `undefined` while the requests come from a stream that has not ended. */
  readonly total: number | undefined
  readonly inFlight: number
  readonly succeeded: number
  readonly failed: number
  /** As far as answers told it. */
  readonly cost: number
  readonly elapsedMillis: number
}

/**
 * Options of a batch.
 */
export interface Options {
  /** Requests at a time: a whole number from 1 up. Default 16. */
  readonly concurrency?: number | undefined
  /**
   * `input` gives the results in the order of the requests, and holds back those that overtake; `completion` gives each
   * as it comes. Default `input`.
   */
  readonly order?: "input" | "completion" | undefined
  /** Told of every start and end. It must be quick: the batch waits for it. */
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

/**
 * Options of a batch of chat completions: those of a batch, and those of each of its calls. `timeout` is the deadline of
 * each prompt, from the moment in which it begins: one that waits for its turn in the batch is not under way.
 */
export interface ChatOptions extends Options, CallOptions {}

/** A request ended in a way that no error type foresees: a defect, or an interruption from inside. */
export class Defect extends Data.TaggedError("Defect")<{ readonly cause: Cause.Cause<unknown> }> {
  override get message(): string {
    return Cause.pretty(this.cause)
  }
}

/**
 * Runs `f` for each of `items`, as a stream of results.
 *
 * **When to use**
 *
 * For batches of anything; `run` and `stream` are this with `OpenRouter.chat`.
 *
 * **Details**
 *
 * Interrupting the consumer interrupts what is in flight; the results it has received are its own. Nothing is read from
 * `items` beyond `concurrency`, so a stream of any length takes bounded memory.
 */
export const streamWith = <I, A, E, R, EI = never, RI = never>(
  items: Iterable<I> | Stream.Stream<I, EI, RI>,
  f: (item: I, index: number) => Effect.Effect<A, E, R>,
  options: Options & {
    readonly cost?: ((value: A) => number | undefined) | undefined
    /** Given every result in the moment it is known. */
    readonly keep?: ((item: Item<A, E | Defect>) => void) | undefined
  } = {}
): Stream.Stream<Item<A, E | Defect>, EI | InvalidOption, R | RI> => {
  const concurrency = options.concurrency ?? 16
  if (!(Number.isInteger(concurrency) && concurrency >= 1)) {
    return Stream.fail(new InvalidOption({ option: "concurrency", expected: "a whole number from 1 up" }))
  }
  const order = options.order ?? "input"
  if (order !== "input" && order !== "completion") {
    return Stream.fail(new InvalidOption({ option: "order", expected: '"input" or "completion"' }))
  }
  return Stream.unwrap(
    Effect.map(Clock.currentTimeMillis, (startedAt) => {
      const total = Array.isArray(items) ? items.length : undefined
      const counts = { inFlight: 0, succeeded: 0, failed: 0, cost: 0 }
      const tell = options.onProgress ?? (() => Effect.void)
      const progress = Effect.map(Clock.currentTimeMillis, (now): Counts => ({
        total,
        ...counts,
        elapsedMillis: now - startedAt
      }))

      const one = ([item, index]: readonly [I, number]) =>
        // What has come, and may have been paid for, is kept even if the batch is stopped in that moment.
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const clock = yield* Clock.Clock
            const from = clock.currentTimeMillisUnsafe()
            counts.inFlight++
            yield* tell({ _tag: "Started", index, progress: yield* progress })
            // Suspended: a function that throws must not take the other requests with it.
            const exit = yield* Effect.exit(restore(Effect.suspend(() => f(item, index))))
            counts.inFlight--
            // If it was the batch that was stopped, this goes no further.
            if (exit._tag === "Failure") yield* restore(Effect.void)
            const result = resultOf(exit)
            if (Result.isSuccess(result)) {
              counts.succeeded++
              counts.cost += options.cost?.(result.success) ?? 0
            } else counts.failed++
            const done = { index, result, durationMillis: clock.currentTimeMillisUnsafe() - from }
            options.keep?.(done)
            yield* tell({ _tag: "Finished", index, ok: Result.isSuccess(result), progress: yield* progress })
            return done
          })
        )
      // One by one: by default an iterable is read 4,096 items ahead.
      const source = Stream.isStream(items)
        ? items
        : Array.isArray(items)
          ? Stream.fromArray<I>(items)
          : Stream.fromIterable(items, { chunkSize: 1 })
      return source.pipe(
        Stream.zipWithIndex,
        Stream.mapEffect(one, { concurrency, unordered: order === "completion" }),
        Stream.ensuring(
          Effect.suspend(() => {
            counts.inFlight = 0
            return Effect.flatMap(progress, (last) => tell({ _tag: "Ended", progress: last }))
          })
        )
      )
    })
  )
}

/**
 * A batch under way.
 */
export interface Running<A, E, E2> {
  /** What happens, from the last 1,024 events on; it ends with the batch. */
  readonly progress: Stream.Stream<Progress>
  /** The results so far, in the order of `index`. */
  readonly completed: Effect.Effect<ReadonlyArray<Item<A, E>>>
  /** All results, when the batch is through. */
  readonly await: Effect.Effect<ReadonlyArray<Item<A, E>>, E2>
  /** Interrupts what is in flight, and answers with what is done. */
  readonly stop: Effect.Effect<ReadonlyArray<Item<A, E>>>
}

/**
 * Starts `f` for each of `items`, and goes on: until all are done, or the scope closes.
 */
export const startWith = Effect.fnUntraced(function* <I, A, E, R, EI = never, RI = never>(
  items: Iterable<I> | Stream.Stream<I, EI, RI>,
  f: (item: I, index: number) => Effect.Effect<A, E, R>,
  options: Options & { readonly cost?: ((value: A) => number | undefined) | undefined } = {}
): Effect.fn.Return<Running<A, E | Defect, EI | InvalidOption>, never, R | RI | Scope.Scope> {
  const events = yield* Effect.acquireRelease(
    PubSub.sliding<Progress>({ capacity: 1024, replay: 1024 }),
    PubSub.shutdown
  )
  const done: Array<Item<A, E | Defect>> = []
  const completed = Effect.sync(() =>
    options.order === "completion" ? [...done] : done.toSorted((a, b) => a.index - b.index)
  )
  const tell = options.onProgress ?? (() => Effect.void)
  let ended = false
  // A batch that never began, as with an option out of range, ends too.
  const end = Effect.suspend(() =>
    ended ? Effect.void : PubSub.publish(events, { _tag: "Ended", progress: none })
  )
  const fiber = yield* streamWith(items, f, {
    ...options,
    // Results are kept as they come, so that stopping keeps them; `completed` puts them in order.
    order: "completion",
    keep: (item) => void done.push(item),
    onProgress: (event) => {
      ended = event._tag === "Ended"
      return Effect.andThen(PubSub.publish(events, event), tell(event))
    }
  }).pipe(Stream.runDrain, Effect.ensuring(end), Effect.forkScoped)
  return {
    progress: Stream.fromPubSub(events).pipe(Stream.takeUntil((event) => event._tag === "Ended")),
    completed,
    await: Effect.andThen(Fiber.join(fiber), completed),
    stop: Effect.andThen(Fiber.interrupt(fiber), completed)
  }
})

/**
 * Runs a batch of chat completions, as a stream of results.
 *
 * **Example**
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Batch, ChatResponse } from "@evenkeel/openrouter"
 *
 * const requests = ["one", "two"].map((content) => ({
 *   model: "openai/gpt-4o-mini",
 *   messages: [{ role: "user" as const, content }] as const
 * }))
 * const texts = Batch.stream(requests, { concurrency: 8 }).pipe(
 *   Stream.map(({ result }) => (result._tag === "Success" ? ChatResponse.text(result.success) : result.failure.message)),
 *   Stream.runCollect
 * )
 * Effect.isEffect(texts) // => true
 * ```
 */
export const stream = <EI = never, RI = never>(
  requests: Iterable<ChatRequest.ChatRequest> | Stream.Stream<ChatRequest.ChatRequest, EI, RI>,
  options: ChatOptions = {}
): Stream.Stream<ChatItem, EI | InvalidOption, OpenRouter | RI> =>
  Stream.unwrap(
    OpenRouter.useSync((openrouter) =>
      streamWith(requests, (request) => openrouter.chat(request, options), {
        ...options,
        cost: ChatResponse.cost
      })
    )
  )

/** What became of one chat completion of a batch. */
export type ChatItem = Item<ChatResponse.ChatResponse, CallError | Defect>

/**
 * Starts a batch of chat completions: with a stream of progress events, and with what is done at any time.
 */
export const start = <EI = never, RI = never>(
  requests: Iterable<ChatRequest.ChatRequest> | Stream.Stream<ChatRequest.ChatRequest, EI, RI>,
  options: ChatOptions = {}
): Effect.Effect<
  Running<ChatResponse.ChatResponse, CallError | Defect, EI | InvalidOption>,
  never,
  OpenRouter | RI | Scope.Scope
> =>
  OpenRouter.use((openrouter) =>
    startWith(requests, (request) => openrouter.chat(request, options), {
      ...options,
      cost: ChatResponse.cost
    })
  )

/**
 * Runs a batch of chat completions and collects the results: in the order of the requests, unless `order` says otherwise.
 *
 * **Gotchas**
 *
 * It answers when all are done. To keep what is done when the batch is interrupted, use `start` or `stream`.
 */
export const run = <EI = never, RI = never>(
  requests: Iterable<ChatRequest.ChatRequest> | Stream.Stream<ChatRequest.ChatRequest, EI, RI>,
  options: ChatOptions = {}
): Effect.Effect<ReadonlyArray<ChatItem>, EI | InvalidOption, OpenRouter | RI> =>
  Effect.scoped(Effect.flatMap(start(requests, options), (running) => running.await))

const none: Counts = { total: undefined, inFlight: 0, succeeded: 0, failed: 0, cost: 0, elapsedMillis: 0 }

const resultOf = <A, E>(exit: Exit.Exit<A, E>): Result.Result<A, E | Defect> => {
  if (exit._tag === "Success") return Result.succeed(exit.value)
  for (const reason of exit.cause.reasons) if (reason._tag === "Fail") return Result.fail(reason.error)
  return Result.fail(new Defect({ cause: exit.cause }))
}

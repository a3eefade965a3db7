/**
 * The body of a streamed answer, from the first byte to the settlement of its lease.
 *
 * Nothing of it reaches the caller before the first content event: until then a failure is the attempt's, and another
 * key may be tried. From there on the bytes pass unchanged, and the events in them are only watched.
 */
import * as Clock from "effect/Clock"
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { HttpClientError, type HttpClientResponse } from "effect/http"
import { Outcome, type Errors, type Lease } from "@evenkeel/core"
import * as Classifier from "../../Classifier.ts"
import { tellUsage } from "../usage.ts"
import { concat } from "./bytes.ts"
import { EventScanner } from "./sse.ts"
import { isWhole, StreamWatch, type Seen } from "./watch.ts"

/** A piece of the body, and the events that it completes. */
export interface Piece {
  readonly bytes: Uint8Array
  readonly events: ReadonlyArray<Seen>
}

export interface StreamOptions {
  readonly table: ReadonlyArray<Classifier.Row> | undefined
  /** The longest silence; comments break it too. */
  readonly idleTimeout: Duration.Input
}

type Chunks = Pull.Pull<Arr.NonEmptyReadonlyArray<Uint8Array>, HttpClientError.HttpClientError>

/** The stream ended, or said that it failed, before it said anything. */
export interface EarlyEnd {
  readonly _tag: "EarlyEnd"
  readonly classification: Classifier.Classification
  /** All that came, as it came. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

export class StreamedBody {
  readonly watch: StreamWatch
  /** Whether it is a stream of events at all. */
  readonly hasEvents: boolean
  private readonly response: HttpClientResponse.HttpClientResponse
  private readonly lease: Lease.Lease
  private readonly scope: Scope.Closeable
  private readonly next: Chunks
  private readonly scanner: EventScanner | undefined
  /** Pieces that came before the first content, and with it. */
  private held: Array<Piece> = []
  private heldBytes = 0
  private ended = false
  private broken = false
  /** Its permit is another's. */
  private cut = false
  private done = false
  private readonly whenDone: Array<(outcome: Outcome.Outcome) => void> = []

  constructor(
    response: HttpClientResponse.HttpClientResponse,
    lease: Lease.Lease,
    scope: Scope.Closeable,
    next: Chunks,
    options: StreamOptions
  ) {
    this.response = response
    this.lease = lease
    this.scope = scope
    this.watch = new StreamWatch(options.table, lease.candidate.includesByok)
    this.hasEvents = (response.headers["content-type"] ?? "").toLowerCase().includes("event-stream")
    this.scanner = this.hasEvents ? new EventScanner() : undefined
    const silent = Effect.suspend(() => Effect.fail(broken(response, "The stream fell silent")))
    const within = (duration: Duration.Input) =>
      Effect.timeoutOrElse(next, { duration, orElse: () => silent })
    const usually = within(options.idleTimeout)
    const guarded = this.unlessLost(usually)
    const atTheEnd = within(Duration.min(Duration.fromInputUnsafe(options.idleTimeout), patience))
    this.next = Effect.suspend(() => {
      if (this.watch.over) return atTheEnd
      // Up to its first content the use itself is cut off.
      return this.watch.committed || !this.hasEvents ? guarded : usually
    })
  }

  /** Reads up to the first content. Bodies that are no events are content from the first byte. */
  readonly commit: Effect.Effect<void, EarlyEnd | HttpClientError.HttpClientError> = Effect.suspend(() => {
    if (this.scanner === undefined || this.watch.committed) return Effect.void
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const { failure } = this.watch
      if (failure !== undefined) return Effect.fail(this.early(failure))
      if (this.ended) return Effect.fail(this.early(Classifier.classify(empty, now)!))
      return Effect.flatMap(this.pull, (pieces) => {
        for (const piece of pieces) {
          this.held.push(piece)
          this.heldBytes += piece.bytes.length
        }
        // So much of nothing is not held back for ever.
        if (this.heldBytes > maxHeld) this.watch.committed = true
        return this.commit
      })
    })
  })

  /** The pieces from the first on; to be read once. */
  readonly pieces: Stream.Stream<Piece, HttpClientError.HttpClientError> = Stream.fromPull(
    Effect.sync(() =>
      Effect.suspend((): Pull.Pull<Arr.NonEmptyReadonlyArray<Piece>, HttpClientError.HttpClientError> => {
        const [first, ...rest] = this.held
        if (first === undefined) {
          return Effect.flatMap(this.pull, ([head, ...tail]) =>
            head === undefined ? Cause.done() : Effect.succeed([head, ...tail] as const)
          )
        }
        this.held = []
        return Effect.succeed([first, ...rest] as const)
      })
    )
  )

  /** The next pieces; none at the end. */
  private readonly pull: Effect.Effect<ReadonlyArray<Piece>, HttpClientError.HttpClientError> =
    Effect.suspend(() => {
      if (this.ended) return Effect.succeed([])
      const tooLong = this.scanner?.failure
      if (tooLong !== undefined) return Effect.fail(unreadable(this.response, tooLong))
      return Effect.flatMap(Effect.exit(this.next), (exit) =>
        Effect.flatMap(
          Clock.currentTimeMillis,
          (now): Effect.Effect<ReadonlyArray<Piece>, HttpClientError.HttpClientError> => {
            if (exit._tag === "Success") return Effect.succeed(this.read(exit.value, now))
            if (!Pull.isDoneCause(exit.cause)) {
              const failed = exit.cause.reasons.some((reason) => reason._tag === "Fail")
              // Behind the ending it does not matter any more how the connection goes.
              if (!failed || !this.watch.finished) {
                this.broken = failed && !this.cut
                return Effect.failCause(exit.cause as Cause.Cause<HttpClientError.HttpClientError>)
              }
            }
            this.ended = true
            const rest = (this.scanner?.end() ?? []).filter(({ data }) => isWhole(data))
            const last = this.see(rest, now)
            return Effect.succeed(last.length === 0 ? [] : [{ bytes: new Uint8Array(0), events: last }])
          }
        )
      )
    })

  /** Ends with the permit that the request began with. */
  private unlessLost(next: Chunks): Chunks {
    const { lost } = this.lease
    if (lost === undefined) return next
    const cut = Effect.suspend(() => {
      this.cut = true
      return Effect.fail(broken(this.response, "The permit of the stream has lapsed"))
    })
    return Effect.raceFirst(next, Effect.andThen(lost, cut))
  }

  private read(chunks: ReadonlyArray<Uint8Array>, now: number): ReadonlyArray<Piece> {
    const pieces = chunks.map((bytes) => ({ bytes, events: this.see(this.scanner?.push(bytes), now) }))
    // Too long an event has content, whatever it is: no other key would send less, and the reader is told.
    if (this.scanner?.failure !== undefined) this.watch.committed = true
    return pieces
  }

  private see(
    events: ReadonlyArray<{ readonly data: string }> | undefined,
    now: number
  ): ReadonlyArray<Seen> {
    return events === undefined || events.length === 0
      ? noEvents
      : events.map(({ data }) => this.watch.see(data, now))
  }

  private early(classification: Classifier.Classification): EarlyEnd {
    return { _tag: "EarlyEnd", classification, bytes: concat(this.held.map(({ bytes }) => bytes)) }
  }

  /**
   * Closes the connection and settles the lease with what the stream came to; the first call does, later ones do not.
   */
  readonly finish: Effect.Effect<void> = Effect.suspend(() => {
    if (this.done) return Effect.void
    this.done = true
    const outcome = this.outcome()
    for (const done of this.whenDone) done(outcome)
    tellUsage(this.lease, this.watch.usage)
    this.lease.settleUnsafe(outcome)
    return this.close
  })

  /** Tells of the first `finish`, whoever calls it, and what the stream came to. */
  onFinish(done: (outcome: Outcome.Outcome) => void): void {
    if (this.done) done(this.outcome())
    else this.whenDone.push(done)
  }

  /** The trail of a stream that fails here: what its request met before, and this. */
  readonly attempts = (failure: string): Effect.Effect<ReadonlyArray<Errors.Attempt>> =>
    Effect.sync(() => {
      const met = this.outcome()
      const outcome = met._tag === "Success" ? Outcome.ignored(met.cost) : met
      return this.lease.attempted({ ...outcome, class: outcome.class ?? failure })
    })

  /** Closes the connection. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => Scope.close(this.scope, Exit.void))

  private outcome(): Outcome.Outcome {
    const { cost, failure, finished } = this.watch
    if (failure !== undefined) {
      const outcome = Classifier.toOutcome(failure, this.lease.context)
      // It broke off after it began: what was said until then may have been billed.
      return { ...outcome, cost }
    }
    if (this.broken) return { ...Classifier.transport, cost }
    if (this.scanner === undefined) return this.ended ? Outcome.success() : Outcome.ignored()
    if (finished) return Outcome.success(cost)
    // The reader went away, or was stopped by an event that is too long: the next reading of the key tells the cost.
    if (!this.ended) return Outcome.ignored(cost)
    return { ...truncated, cost }
  }
}

/** Makes the body of a response, in a scope of its own that `finish` closes. */
export const make = (
  response: HttpClientResponse.HttpClientResponse,
  lease: Lease.Lease,
  options: StreamOptions
): Effect.Effect<StreamedBody> =>
  Effect.suspend(() => {
    const scope = Scope.makeUnsafe()
    return Effect.map(
      Scope.provide(Stream.toPull(response.stream), scope),
      (next) => new StreamedBody(response, lease, scope, next, options)
    )
  })

/** The end came without the word that it is one. */
const truncated: Outcome.Faulted = Outcome.faulted({
  scope: "upstream",
  reason: "unavailable",
  class: "truncated",
  retryable: "never",
  cost: undefined
})

/** A stream that ends before it has said anything: some provider's failure. */
const empty: Classifier.Answer = {
  status: 200,
  headers: {},
  body: {
    error: {
      code: 502,
      message: "The stream ended before it said anything",
      metadata: { provider_name: "unknown" }
    }
  }
}

const broken = ({ request }: HttpClientResponse.HttpClientResponse, description: string) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request, description })
  })

const unreadable = (response: HttpClientResponse.HttpClientResponse, cause: Error) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.DecodeError({
      request: response.request,
      response,
      cause,
      description: "An event of the stream is too long"
    })
  })

/** Bytes that are held back while a stream says nothing: days of comments. */
const maxHeld = 1024 * 1024

/** How long the connection may stay open behind the last word. */
const patience = Duration.seconds(1)

const noEvents: ReadonlyArray<Seen> = []

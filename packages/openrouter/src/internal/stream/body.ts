/**
 * The body of a streamed answer, from the first byte to the settlement of its lease.
 *
 * Nothing of it reaches the caller before the first content event: until then a failure is the attempt's, and another
 * key may be tried. From there on the bytes pass unchanged, and the events in them are only watched.
 */
import * as Clock from "effect/Clock"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { HttpClientResponse } from "effect/http"
import { Outcome, type Errors, type Lease } from "@evenkeel/core"
import * as Classifier from "../../Classifier.ts"
import { tellUsage } from "../usage.ts"
import { concat } from "./bytes.ts"
import { empty, lapsed, silence, truncated, unreadable } from "./endings.ts"
import { silencesBy, type Silences, type Waiting } from "./silence.ts"
import { sourceOf, type Arrival, type Chunks, type Failed, type Source } from "./source.ts"
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
  readonly idleMillis: number
  /** Whether the reader is after the bytes; else it wants each event as JSON. */
  readonly bytes: boolean
}

/** The stream ended, or said that it failed, before it said anything. */
export interface EarlyEnd {
  readonly _tag: "EarlyEnd"
  readonly classification: Classifier.Classification
  /** All that came, as it came. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

export class StreamedBody implements Waiting {
  readonly watch: StreamWatch
  /** Whether it is a stream of events at all. */
  readonly hasEvents: boolean
  due = Infinity
  place = 0
  private readonly response: HttpClientResponse.HttpClientResponse
  private readonly lease: Lease.Lease
  private readonly source: Source
  private readonly clock: Clock.Clock
  private readonly silences: Silences
  private readonly idleMillis: number
  private readonly scanner: EventScanner | undefined
  /** Pieces that came before the first content, and with it. */
  private held: Array<Piece> = []
  private heldBytes = 0
  /** The first content is there, and its reader. */
  private begun = false
  private resume: (next: Effect.Effect<ReadonlyArray<Piece>, Failed>) => void = ignore
  private ended = false
  private broken = false
  private done = false
  private readonly whenDone: Array<(outcome: Outcome.Outcome) => void> = []

  constructor(
    response: HttpClientResponse.HttpClientResponse,
    lease: Lease.Lease,
    source: Source,
    clock: Clock.Clock,
    options: StreamOptions
  ) {
    this.response = response
    this.lease = lease
    this.clock = clock
    this.source = source
    this.silences = silencesBy(clock)
    this.idleMillis = options.idleMillis
    this.watch = new StreamWatch(options.table, lease.candidate.includesByok, !options.bytes)
    this.hasEvents = (response.headers["content-type"] ?? "").toLowerCase().includes("event-stream")
    this.scanner = this.hasEvents ? new EventScanner() : undefined
    this.silences.open(this)
  }

  /** Reads up to the first content. Bodies that are no events are content from the first byte. */
  get commit(): Effect.Effect<void, EarlyEnd | Failed> {
    return this.untilCommitted()
  }

  private untilCommitted(): Effect.Effect<void, EarlyEnd | Failed> {
    return Effect.suspend(() => {
      if (this.scanner === undefined || this.watch.committed) return Effect.void
      const { failure } = this.watch
      if (failure !== undefined) return Effect.fail(this.early(failure))
      if (this.ended) return Effect.fail(this.early(Classifier.classify(empty, this.now)!))
      return Effect.flatMap(this.fresh, (pieces) => {
        for (const piece of pieces) {
          this.held.push(piece)
          this.heldBytes += piece.bytes.length
        }
        // So much of nothing is not held back for ever.
        if (this.heldBytes > maxHeld) this.watch.committed = true
        return this.untilCommitted()
      })
    })
  }

  /** The next pieces, from the first on; none at the end. To be read once. */
  readonly next: Effect.Effect<ReadonlyArray<Piece>, Failed> = Effect.suspend(() => {
    this.begun = true
    if (this.held.length === 0) return this.fresh
    const { held } = this
    this.held = []
    return Effect.succeed(held)
  })

  /** The same as a stream. */
  get pieces(): Stream.Stream<Piece, Failed> {
    return Stream.fromPull(
      Effect.succeed(
        Effect.flatMap(this.next, (pieces) =>
          Arr.isReadonlyArrayNonEmpty(pieces) ? Effect.succeed(pieces) : Cause.done()
        )
      )
    )
  }

  /** Pieces that nobody has seen. */
  private get fresh(): Effect.Effect<ReadonlyArray<Piece>, Failed> {
    if (this.ended) return Effect.succeed([])
    const tooLong = this.scanner?.failure
    return tooLong === undefined ? this.unlessLost : Effect.fail(unreadable(this.response, tooLong))
  }

  /** Ends with the permit that the request began with. Up to its first content the use itself is cut off. */
  private get unlessLost(): Effect.Effect<ReadonlyArray<Piece>, Failed> {
    const { lost } = this.lease
    if (lost === undefined || this.watch.over || (this.hasEvents && !this.watch.committed))
      return this.arriving
    return Effect.raceFirst(
      this.arriving,
      Effect.andThen(
        lost,
        Effect.suspend(() => Effect.fail(lapsed(this.response)))
      )
    )
  }

  /** What is there, or else what comes. */
  private readonly arriving: Effect.Effect<ReadonlyArray<Piece>, Failed> = Effect.callback((resume) => {
    this.resume = resume
    const arrival = this.source.next(this.ready)
    if (arrival !== undefined) return resume(this.received(arrival))
    // Behind the last word nothing is waited for but the end.
    this.due = this.silences.due(this.watch.over ? Math.min(this.idleMillis, patience) : this.idleMillis)
    return this.givenUp
  })

  private readonly ready = (arrival: Arrival): void => {
    this.due = Infinity
    this.resume(this.received(arrival))
  }

  /** There was silence for too long. */
  cut(): void {
    this.ready(Exit.fail(silence(this.response)))
  }

  /** Before the first content it is the attempt that is given up, and not yet the stream. */
  private readonly givenUp = Effect.suspend(() => (this.begun ? this.finish : Effect.void))

  private received(arrival: Arrival): Effect.Effect<ReadonlyArray<Piece>, Failed> {
    if (arrival._tag === "Success") return Effect.succeed(this.read(arrival.value))
    if (!Pull.isDoneCause(arrival.cause)) {
      const failed = arrival.cause.reasons.some((reason) => reason._tag === "Fail")
      // Behind the ending it does not matter any more how the connection goes.
      if (!failed || !this.watch.finished) {
        this.broken = failed
        return Effect.failCause(arrival.cause as Cause.Cause<Failed>)
      }
    }
    this.ended = true
    const rest = (this.scanner?.end() ?? []).filter(({ data }) => isWhole(data))
    const last = this.see(rest)
    return Effect.succeed(last.length === 0 ? [] : [{ bytes: new Uint8Array(0), events: last }])
  }

  private get now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  private read(chunks: Chunks): ReadonlyArray<Piece> {
    const pieces = chunks.map((bytes) => ({ bytes, events: this.see(this.scanner?.push(bytes)) }))
    // Too long an event has content, whatever it is: no other key would send less, and the reader is told.
    if (this.scanner?.failure !== undefined) this.watch.committed = true
    return pieces
  }

  private see(events: ReadonlyArray<{ readonly data: string }> | undefined): ReadonlyArray<Seen> {
    if (events === undefined || events.length === 0) return noEvents
    const { now } = this
    return events.map(({ data }) => this.watch.see(data, now))
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
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.silences.close(this)
    return this.source.close
  })

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

/** Makes the body of a response; `finish` closes it. */
export const make = (
  response: HttpClientResponse.HttpClientResponse,
  lease: Lease.Lease,
  options: StreamOptions
): Effect.Effect<StreamedBody> =>
  Effect.withFiber((fiber) =>
    Effect.map(
      sourceOf(response),
      (source) => new StreamedBody(response, lease, source, fiber.getRef(Clock.Clock), options)
    )
  )

/** Bytes that are held back while a stream says nothing: days of comments. */
const maxHeld = 1024 * 1024

/** How long the connection may stay open behind the last word, in milliseconds. */
const patience = 1000

const noEvents: ReadonlyArray<Seen> = []
const ignore = () => {}

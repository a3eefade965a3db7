/**
 * Events for whoever listens: at once, in the step in which they happen, or as a stream with a bounded buffer. While nobody
 * does, an event costs one comparison.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** How far a stream may fall behind before it loses the oldest. */
const capacity = 1024

export class EventHub<E> {
  private readonly events: PubSub.PubSub<E>
  private streams = 0
  private observers: ReadonlyArray<(event: E) => void> = []
  /** The events from the subscription on. */
  readonly stream: Stream.Stream<E>
  /** Whether an event is worth making. */
  heard = false

  constructor(events: PubSub.PubSub<E>) {
    this.events = events
    this.stream = Stream.unwrap(
      Effect.as(
        Effect.acquireRelease(
          Effect.sync(() => this.count(1)),
          () => Effect.sync(() => this.count(-1))
        ),
        Stream.fromPubSub(events)
      )
    )
  }

  /** Calls the observer with each event for as long as the scope is open. */
  observe(observer: (event: E) => void): Effect.Effect<void, never, Scope.Scope> {
    return Effect.contextWith((context) => {
      const run = Effect.runForkWith(context)
      // What is being counted and settled must not be lost to somebody who only looks on.
      const guarded = (event: E) => {
        try {
          observer(event)
        } catch (defect) {
          run(Effect.logError("An observer of events has thrown", defect))
        }
      }
      return Effect.acquireRelease(
        Effect.sync(() => this.watch([...this.observers, guarded])),
        () => Effect.sync(() => this.watch(this.observers.filter((other) => other !== guarded)))
      )
    })
  }

  emit(event: E): void {
    if (!this.heard) return
    for (const observer of this.observers) observer(event)
    if (this.streams === 0) return
    // When it is full, the unsafe way would refuse the newest; only the effect lets the oldest go for it.
    if (!PubSub.publishUnsafe(this.events, event)) Effect.runSyncExit(PubSub.publish(this.events, event))
  }

  private count(change: 1 | -1): void {
    this.streams += change
    this.hearing()
  }

  private watch(observers: ReadonlyArray<(event: E) => void>): void {
    this.observers = observers
    this.hearing()
  }

  private hearing(): void {
    this.heard = this.streams > 0 || this.observers.length > 0
  }
}

export const make = <E>(): Effect.Effect<EventHub<E>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(PubSub.sliding<E>(capacity), PubSub.shutdown),
    (events) => new EventHub(events)
  )

/**
 * Events for whoever listens, in a bounded buffer. While nobody does, an event costs one comparison.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** How far a listener may fall behind before it loses the oldest. */
const capacity = 1024

export class EventHub<E> {
  private readonly events: PubSub.PubSub<E>
  private listeners = 0
  /** The events from the subscription on. */
  readonly stream: Stream.Stream<E>

  constructor(events: PubSub.PubSub<E>) {
    this.events = events
    this.stream = Stream.unwrap(
      Effect.as(
        Effect.acquireRelease(
          Effect.sync(() => void this.listeners++),
          () => Effect.sync(() => void this.listeners--)
        ),
        Stream.fromPubSub(events)
      )
    )
  }

  /** Whether an event is worth making. */
  get heard(): boolean {
    return this.listeners > 0
  }

  emit(event: E): void {
    if (this.listeners === 0) return
    // When it is full, the unsafe way would refuse the newest; only the effect lets the oldest go for it.
    if (!PubSub.publishUnsafe(this.events, event)) Effect.runSyncExit(PubSub.publish(this.events, event))
  }
}

export const make = <E>(): Effect.Effect<EventHub<E>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(PubSub.sliding<E>(capacity), PubSub.shutdown),
    (events) => new EventHub(events)
  )

/**
 * A bus between the processes of a scenario: what one publishes reaches the others after a delay.
 */
import type { SharedFacts } from "@evenkeel/core"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import type { VirtualTime } from "./virtualTime.ts"

/** One end of the bus for each process. */
export const make = Effect.fnUntraced(function* (time: VirtualTime, processes: number, delayMillis: number) {
  const queues: Array<Queue.Queue<SharedFacts.Fact>> = []
  // A queue wakes who waits for it by the scheduler of its maker.
  const queue = Effect.provideService(
    Queue.unbounded<SharedFacts.Fact>(),
    Scheduler.Scheduler,
    time.scheduler
  )
  for (let i = 0; i < processes; i++) queues.push(yield* queue)
  return queues.map((own): SharedFacts.SharedFacts => ({
    name: "lab",
    publish: (fact) => {
      time.at(time.now + delayMillis, () => {
        for (const queue of queues) if (queue !== own) Queue.offerUnsafe(queue, fact)
      })
    },
    facts: Stream.fromQueue(own)
  }))
})

/**
 * What keeps logs readable on a bad day, when one trouble makes a thousand requests tell of it.
 */
import type { BalancerEvent, PoolEvent } from "@evenkeel/core"

type Event = BalancerEvent.BalancerEvent | PoolEvent.PoolEvent
type Benched = Extract<Event, { readonly _tag: "Benched" }>

/** Milliseconds. */
const interval = 1000

/** The benches that are remembered: more are hardly in force at a time. */
const capacity = 1024

export class Calm {
  private readonly benches = new Map<string, number>()
  private readonly told = new Map<Event["_tag"], { readonly at: number; skipped: number }>()

  /** Whether a bench that was told of already only lasts longer: each fault that was in flight makes it so. */
  prolongs({ id, scope, since, within }: Benched): boolean {
    const name = JSON.stringify([scope, id, within])
    const before = this.benches.get(name)
    this.benches.delete(name)
    this.benches.set(name, since)
    if (this.benches.size > capacity) this.benches.delete(this.benches.keys().next().value!)
    return before === since
  }

  /** How many alike were left out since the last one; `undefined` if this one is to be left out too. */
  skipped({ _tag, at }: Event & { readonly at: number }): number | undefined {
    const last = this.told.get(_tag)
    if (last !== undefined && at >= last.at && at < last.at + interval) {
      last.skipped++
      return undefined
    }
    this.told.set(_tag, { at, skipped: 0 })
    return last?.skipped ?? 0
  }
}

/**
 * The pool as a picker meets it: one live view for each key, counts that go up with a pick and down with its outcome, keys
 * that leave. It watches every call of the picker, and undoes what it must not do, so that each law sees its own matter
 * alone.
 */
import type { Candidate, Filter, Outcome, Selector } from "@evenkeel/core"
import * as Arr from "effect/Array"
import { watching } from "./ambient.ts"
import { candidate, type Candidates } from "./byHand.ts"
import type { Program, Request, Step, Traits } from "./program.ts"

/** One call of the picker, and all that could be seen of it. */
export interface Call {
  readonly name: "pick" | "rank" | "settled" | "forget"
  /** The candidates it was given; none where it is given none. */
  readonly offered: ReadonlyArray<Candidate.Candidate>
  readonly context: Candidate.PickContext | undefined
  readonly result: unknown
  /** What it threw, in a box: anything can be thrown. */
  readonly thrown: { readonly error: unknown } | undefined
  /** What it wrote to. */
  readonly wrote: string | undefined
  /** The source of time or chance that it asked, past its context. */
  readonly asked: string | undefined
  /** How many numbers it drew from its context. */
  readonly drawn: number
}

/** What is wrong with a call; `undefined` if nothing is. */
export type Watch = (call: Call, picker: Selector.Picker) => string | undefined

export interface Setup {
  readonly picker: Selector.Picker
  readonly eligible: Filter.Filter | undefined
  readonly random: () => number
  /** Asks for the rank before each pick. */
  readonly ranks?: boolean
  readonly watch?: Watch
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

interface Entry {
  readonly view: Mutable<Candidate.Candidate>
  /** What the view should say. */
  readonly truth: Mutable<Candidate.Candidate>
  readonly labels: Readonly<Record<string, string>>
  headroom: number | undefined
  benched: boolean
}

interface Use {
  readonly entry: Entry
  readonly at: number
  readonly context: Candidate.PickContext
}

/** Any time will do, but 0 would look like a time that is not set. */
export const start = 1_750_000_000_000

export class Stage {
  /** What was first found to be wrong. */
  problem: string | undefined
  /** The ids chosen so far; `undefined` where the pick gave no candidate. */
  readonly chosen: Array<string | undefined> = []
  private now = start
  /** By number, in the order of the pool. */
  private readonly entries = new Map<number, Entry>()
  private readonly open: Array<Use> = []
  /** Whether there is a limiter. */
  private limited = false
  private readonly setup: Setup
  private drawn = 0
  private asked: string | undefined

  constructor(setup: Setup) {
    this.setup = setup
  }

  /** Runs `body` with the sources of time and chance watched. */
  watching<A>(body: () => A): A {
    const { random } = this.setup
    return watching(
      { nowMillis: () => this.now, random, asked: (source) => void (this.asked ??= source) },
      body
    )
  }

  get inFlight(): number {
    return this.open.length
  }

  join(key: number, { headroom, ...traits }: Traits): void {
    if (this.entries.has(key)) return
    const truth = candidate(`k${key}`, { creditResetsAt: undefined, ...traits })
    const labels = { ...truth.labels }
    this.limited ||= headroom !== undefined
    this.entries.set(key, { view: { ...truth }, truth, labels, headroom, benched: false })
  }

  leave(key: number): void {
    const entry = this.entries.get(key)
    if (entry === undefined) return
    this.entries.delete(key)
    const { picker } = this.setup
    if (picker.forget !== undefined) this.call("forget", [], undefined, () => picker.forget!(entry.view.id))
  }

  bench(key: number): void {
    const entry = this.entries.get(key)
    if (entry !== undefined) entry.benched = !entry.benched
  }

  change(key: number, { headroom, ...traits }: Traits): void {
    const entry = this.entries.get(key)
    if (entry === undefined) return
    if (headroom !== undefined) entry.headroom = headroom
    this.limited ||= headroom !== undefined
    this.set(entry, traits)
  }

  wait(millis: number): void {
    this.now += millis
  }

  pick(request: Request, arrange: (views: Candidates) => Candidates = (views) => views): void {
    const { eligible, picker, ranks } = this.setup
    const context = this.contextOf(request)
    const some: Array<Candidate.Candidate> = []
    for (const { benched, view } of this.entries.values()) {
      if (benched || view.inFlight >= view.maxInFlight || eligible?.(view, context) !== undefined) continue
      some.push(view)
    }
    if (!Arr.isArrayNonEmpty(some)) return
    const offered = arrange(some)
    if (ranks === true && picker.rank !== undefined) {
      this.call("rank", offered, context, (given) => picker.rank!(given as Candidates, context))
    }
    const chosen = this.call("pick", offered, context, (given) => picker.pick(given as Candidates, context))
    const entry = offered.includes(chosen as Candidate.Candidate)
      ? this.entries.get(Number((chosen as Candidate.Candidate).id.slice(1)))
      : undefined
    this.chosen.push(entry?.view.id)
    if (entry === undefined) return
    const { credit, inFlight } = entry.truth
    const held = request.estimate === undefined || credit === undefined ? credit : credit - request.estimate
    this.set(entry, { inFlight: inFlight + 1, credit: held })
    this.open.push({ entry, at: this.now, context })
  }

  /** Ends one of the uses in flight, also of a key that has left. */
  settle(place: number, outcome: Outcome.Outcome): void {
    if (this.open.length === 0) return
    const [use] = this.open.splice(place % this.open.length, 1)
    const { at, context, entry } = use!
    const elapsedMillis = Math.max(0, this.now - at)
    this.set(entry, { inFlight: entry.truth.inFlight - 1 })
    const { picker } = this.setup
    if (picker.settled === undefined) return
    const timing = { nowMillis: this.now, elapsedMillis, answerMillis: elapsedMillis }
    this.call("settled", [entry.view], undefined, () => picker.settled!(entry.view, outcome, timing, context))
  }

  private contextOf(request: Request): Candidate.PickContext {
    return {
      attempt: 0,
      affinity: undefined,
      upstream: "a-model",
      tokens: undefined,
      estimate: undefined,
      ...request,
      nowMillis: this.now,
      random: () => {
        this.drawn++
        return this.setup.random()
      },
      headroom: this.limited ? (one) => this.headroomOf(one.id) : undefined
    }
  }

  private headroomOf(id: string) {
    const share = this.entries.get(Number(id.slice(1)))?.headroom
    return share === undefined ? undefined : { requests: share * 10, tokens: share * 10_000, share }
  }

  private set(entry: Entry, numbers: Partial<Candidate.Candidate>): void {
    Object.assign(entry.truth, numbers)
    Object.assign(entry.view, numbers)
  }

  private call(
    name: Call["name"],
    offered: ReadonlyArray<Candidate.Candidate>,
    context: Candidate.PickContext | undefined,
    act: (given: ReadonlyArray<Candidate.Candidate>) => unknown
  ): unknown {
    const given = [...offered]
    const before = { ...context }
    this.drawn = 0
    this.asked = undefined
    let result: unknown
    let thrown: Call["thrown"]
    try {
      result = act(given)
    } catch (error) {
      thrown = { error }
    }
    const { drawn, asked } = this
    const wrote =
      (differs(given, offered) ? "the list of candidates" : undefined) ??
      (differs(context ?? {}, before) ? "the context" : undefined) ??
      this.rewritten()
    // A list that is changed by its sorting may also be the answer.
    if (result === given) result = [...given]
    const { picker, watch } = this.setup
    this.problem ??= watch?.({ name, offered, context, result, thrown, wrote, asked, drawn }, picker)
    return result
  }

  /** The first view that does not say the truth any more; all are put right. */
  private rewritten(): string | undefined {
    let found: string | undefined
    for (const { labels, truth, view } of this.entries.values()) {
      if (!differs(view, truth) && !differs(view.labels, labels)) continue
      found ??= `the candidate ${truth.id}`
      for (const field of Object.keys(view)) if (!(field in truth)) Reflect.deleteProperty(view, field)
      Object.assign(view, truth, { labels: { ...labels } })
      truth.labels = view.labels
    }
    return found
  }
}

const differs = (actual: object, expected: object): boolean => {
  for (const field in expected) {
    if (!Object.is(actual[field as never], expected[field as never])) return true
  }
  for (const field in actual) if (!(field in expected)) return true
  return false
}

/** Takes the steps one after the other, up to the first problem. */
export const play = (stage: Stage, { keys, steps }: Program): void =>
  stage.watching(() => {
    for (const [key, traits] of keys.entries()) stage.join(key, traits)
    for (const step of steps) {
      take(stage, step)
      if (stage.problem !== undefined) return
    }
  })

const take = (stage: Stage, step: Step): void => {
  switch (step._tag) {
    case "Pick":
      return stage.pick(step.request)
    case "Settle":
      return stage.settle(step.use, step.outcome)
    case "Join":
      return stage.join(step.key, step.traits)
    case "Leave":
      return stage.leave(step.key)
    case "Bench":
      return stage.bench(step.key)
    case "Change":
      return stage.change(step.key, step.traits)
    case "Wait":
      return stage.wait(step.millis)
  }
}

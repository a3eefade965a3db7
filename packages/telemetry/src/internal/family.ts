/**
 * The series of one metric by the values of their labels, kept at hand: to look one up in the registry would build its name.
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { seriesOf, type Definition } from "./catalogue.ts"

type Series = Metric.Metric<number, unknown>
type Node = Map<string, Node | Series>

export class Family {
  private readonly definition: Definition<"counter" | "histogram">
  private readonly context: Context.Context<never>
  private readonly root: Node = new Map()

  constructor(definition: Definition<"counter" | "histogram">, context: Context.Context<never>) {
    this.definition = definition
    this.context = context
  }

  /** Adds to a counter, or observes for a histogram; the values are those of the labels, in their order. */
  update(by: number, ...values: ReadonlyArray<string>): void {
    this.at(values).updateUnsafe(by, this.context)
  }

  /** Ends all series whose first label has this value. */
  forget(first: string): void {
    const node = this.root.get(first)
    this.root.delete(first)
    if (node !== undefined) this.remove(node)
  }

  private at(values: ReadonlyArray<string>): Series {
    let node = this.root
    const last = values.length - 1
    for (let i = 0; i < last; i++) {
      const value = values[i]!
      let next = node.get(value)
      if (next === undefined) node.set(value, (next = new Map()))
      node = next as Node
    }
    const value = values[last]!
    let series = node.get(value)
    if (series === undefined) {
      series = seriesOf[this.definition.type](this.definition, values)
      node.set(value, series)
    }
    return series as Series
  }

  private remove(node: Node | Series): void {
    if (Metric.isMetric(node)) return Metric.removeUnsafe(node as Series, this.context)
    for (const child of node.values()) this.remove(child)
  }
}

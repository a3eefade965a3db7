/**
 * A bounded set of names for a label: callers can send any model they like, and each would be series for ever.
 */
export class Names {
  private readonly known: Set<string>
  private readonly most: number

  /** Those of `always` have a place of their own; besides them the first `most` that come. */
  constructor(most: number, always: ReadonlyArray<string> = []) {
    this.known = new Set(always)
    this.most = most + this.known.size
  }

  of(name: string | undefined): string {
    if (name === undefined) return "none"
    if (this.known.has(name)) return name
    if (this.known.size >= this.most || name.length > longest) return "other"
    this.known.add(name)
    return name
  }
}

/** No model has so long a name. */
const longest = 200

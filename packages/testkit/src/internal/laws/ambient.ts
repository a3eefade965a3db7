/**
 * Time and chance that a selector takes from the world instead of from its context.
 *
 * A selector that asks `Date.now()` chooses otherwise in the next run, but perhaps not within the millisecond of this one.
 * So the sources themselves are watched while a picker has its turn, which is exact. They answer from the program, so
 * that the other laws see a run that can be repeated.
 */

/** What the sources answer while they are watched. */
export interface World {
  readonly nowMillis: () => number
  readonly random: () => number
  /** Told the source each time one is asked. */
  readonly asked: (source: string) => void
}

/**
 * Runs `body` with the sources of time and chance watched. It must be synchronous: they are the world's again before
 * anything else can run.
 */
export const watching = <A>(world: World, body: () => A): A => {
  const restore = sources(world).map(([owner, key, value]) => replace(owner, key, value))
  try {
    return body()
  } finally {
    for (const undo of restore) undo()
  }
}

type Source = readonly [owner: object, key: string, value: unknown]

const sources = (world: World): ReadonlyArray<Source> => {
  const asked = <A>(source: string, value: A): A => {
    world.asked(source)
    return value
  }
  const watchedDate = new Proxy(Date, {
    apply: () => asked("Date()", new Date(world.nowMillis()).toString()),
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length > 0 ? args : [asked("new Date()", world.nowMillis())], newTarget),
    get: (target, key) =>
      key === "now" ? () => asked("Date.now", world.nowMillis()) : Reflect.get(target, key, target)
  })
  return [
    [globalThis, "Date", watchedDate],
    [globalThis.performance, "now", () => asked("performance.now", world.nowMillis())],
    [Math, "random", () => asked("Math.random", world.random())],
    [
      globalThis.crypto,
      "getRandomValues",
      <A extends ArrayBufferView>(array: A): A => asked("crypto.getRandomValues", array)
    ],
    [
      globalThis.crypto,
      "randomUUID",
      () => asked("crypto.randomUUID", "00000000-0000-4000-8000-000000000000")
    ]
  ]
}

const replace = (owner: object, key: string, value: unknown): (() => void) => {
  const before = Object.getOwnPropertyDescriptor(owner, key)
  Object.defineProperty(owner, key, { value, configurable: true, writable: true })
  return () => {
    // What came from the prototype comes from there again.
    if (before === undefined) Reflect.deleteProperty(owner, key)
    else Object.defineProperty(owner, key, before)
  }
}

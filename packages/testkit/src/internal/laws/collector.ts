import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/**
 * Collects the garbage at will: what `--expose-gc` gives, or would give; `undefined` where the runtime has no such thing.
 */
export const collector = (): (() => void) | undefined => {
  if (globalThis.gc !== undefined) return () => void globalThis.gc?.()
  try {
    // The flag takes effect in contexts that are made after it.
    setFlagsFromString("--expose-gc")
    const gc: unknown = runInNewContext("gc")
    return typeof gc === "function" ? () => void gc() : undefined
  } catch {
    return undefined
  }
}

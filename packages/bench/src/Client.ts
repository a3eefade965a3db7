/**
 * What is compared.
 */
import { Effect, Exit, Layer, Scope } from "effect"

/** One way to ask for a chat completion, whole or streamed. */
export interface Client {
  /** The text of an answer. */
  readonly call: (turn: number) => Promise<string>
  /** The text of a streamed answer, put together; `first` is called when its first piece has come. */
  readonly stream?: ((turn: number, first?: () => void) => Promise<string>) | undefined
  readonly close: () => Promise<void>
}

/** `url` is the upstream's, up to `/v1` or below `/hold`. */
export type Make = (url: string) => Promise<Client>

/**
 * A layer that is up, as in a program: its requests are run one by one, with what it made. (A `ManagedRuntime` would write
 * each of them down in its scope, which is a cost of its own.)
 */
export const started = async <A, E>(layer: Layer.Layer<A, E>) => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  return {
    context,
    run: Effect.runPromiseWith(context),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

export const keyCount = 16

export const secrets: ReadonlyArray<string> = Array.from(
  { length: keyCount },
  (_, i) => `sk-${String(i + 1).padStart(7, "0")}`
)

export const secretOf = (turn: number): string => secrets[turn % keyCount]!

export const model = "openai/gpt-4o-mini"

/** 359 bytes as JSON, as in the first measurements. */
export const messages = [
  {
    role: "system" as const,
    content: "You are a shipwright. Answer in one short paragraph, and in plain words."
  },
  {
    role: "user" as const,
    content: `What keeps a ship upright? ${"Please think of wind and waves. ".repeat(4)}`
  }
]

/** A new object for each request, as a program would have. */
export const body = () => ({ model, messages, temperature: 0.2 })

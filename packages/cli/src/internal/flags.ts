/**
 * Flags that several commands have.
 */
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as CliError from "effect/cli/CliError"
import * as Selectors from "./selectors.ts"

/** Where keys come from. */
export const keys = {
  envFile: Flag.File("env-file", { mustExist: true }).pipe(
    Flag.withDescription(
      "A .env file with OPENROUTER_KEYS and other settings; the environment itself goes before it"
    ),
    Flag.optional
  ),
  simulate: Flag.Literals("simulate", ["steady", "bad-day"]).pipe(
    Flag.withOptionalValue("steady"),
    Flag.withDescription(
      "A simulated OpenRouter with four keys of its own: nothing is sent anywhere, no key is needed. bad-day: caps, a revoked key, an empty account, faults"
    ),
    Flag.optional
  )
}

export const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Machine-readable output"),
  Flag.withDefault(false)
)

export const selector = Flag.Literals("selector", Selectors.names).pipe(
  Flag.withDescription("How a key is picked; least-in-flight by default"),
  Flag.withDefault("least-in-flight")
)

/** A whole number in a range. */
export const whole = (name: string, minimum: number, maximum: number) =>
  Flag.Int(name).pipe(
    Flag.filter(
      (value) => value >= minimum && value <= maximum,
      (value) => `a whole number from ${minimum} to ${maximum}, got ${value}`
    )
  )

/** An amount of USD. */
export const usd = (name: string) =>
  Flag.Finite(name).pipe(
    Flag.withMetavar("USD"),
    Flag.filter(
      (value) => value > 0,
      (value) => `a number of USD greater than 0, got ${value}`
    )
  )

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/** A time such as `500ms`, `30s`, `10m` or `1h`, from 0 up. */
export const duration = (name: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("TIME"),
    Flag.mapEffect((value) => {
      const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(value)
      if (match !== null)
        return Effect.succeed(Duration.millis(Number(match[1]) * units[match[2] as keyof typeof units]))
      return Effect.fail(
        new CliError.InvalidValue({
          option: name,
          value,
          expected: "a time such as 500ms, 30s, 10m or 1h",
          kind: "flag"
        })
      )
    })
  )

export const retries = whole("retries", 0, 100).pipe(
  Flag.withDescription(
    "Repetitions of one request on faults that time cures, 0 to 100; 3 by default. Other keys are tried besides"
  ),
  Flag.withDefault(3)
)

export const timeout = duration("timeout").pipe(
  Flag.withDescription("The deadline of one request, over all its attempts and waits; 10m by default"),
  Flag.withDefault(Duration.minutes(10))
)

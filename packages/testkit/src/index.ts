/**
 * Tests of programs that speak to OpenRouter, without OpenRouter.
 */
export * as Lab from "./Lab.ts"
export * as Scenarios from "./Scenarios.ts"
export * as SelectorLaws from "./SelectorLaws.ts"
export * as Simulator from "./Simulator.ts"
export * as TestSelector from "./TestSelector.ts"

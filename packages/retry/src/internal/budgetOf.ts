/** What the option `budget` of a policy stands for. */
import { make, type Options, type RetryBudget } from "../RetryBudget.ts"

/** A budget, the options of a new one, or `false` for none. */
export type BudgetOption = RetryBudget | Options | false

export const budgetOf = (option: BudgetOption | undefined, defaults: Options): RetryBudget | undefined => {
  if (option === false) return undefined
  if (option === undefined) return make(defaults)
  if ("withdraw" in option) return option
  return make({
    ratio: option.ratio ?? defaults.ratio,
    perSecond: option.perSecond ?? defaults.perSecond,
    window: option.window ?? defaults.window
  })
}

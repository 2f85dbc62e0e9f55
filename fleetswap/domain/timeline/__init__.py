"""The timeline of a deploy, from its commit to the bake: what took how long, and how long it may take.

`model` has the data, for whoever shows or draws it; as plain JSON it is kept in the state. A `Deploy` has one `Span`
for each phase, in the order of time, without overlaps: what came before the rollout (evaluation, build, boot test,
upload, registration, wait), the phases and the steps of the rollout, and moments of 0 seconds between or inside them
(commit, first healthy, live). What did not happen in this deploy has no span: an image that is adopted has no build.
`of_rollout` makes the spans of a rollout, and `history` says what is kept of deploys, and which is meant by a name.
Pure decisions: nothing here reads a file or a clock.
"""

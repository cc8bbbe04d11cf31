"""What a run takes, before it is launched: arithmetic on the composed config, no torch, no GPU.

`lengths` says what the steps hold, `work` what that costs to compute, `memory` what a rank has to
hold, `speed` how long a step takes, `costs` what it costs; `draft` puts them together for a run and
`layouts` for other layouts of it. An adaptation or another stage that trains is one more draft.
"""

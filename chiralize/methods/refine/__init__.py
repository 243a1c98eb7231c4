"""A draft brought nearer to the original's answers, without labels: Gauss-Newton, then gradient descent.

refine         what follows a fit, asked for or not; `budget`: how much of which a network gets unasked
ready          what training works on; `together`: samples side by side, `along`: whole sequences
  from_the_centre  pixels, seen from the point that T mirrors at
imitation      the distance from the original's answers, and the weights that may move
gauss_newton   all layers at once, by conjugate gradients
distillation   how large steps of descent are; `checkpoint`: an interrupted run goes on
  training       descent itself: steps, looks at held-out inputs, the best weights kept
  lessons        inputs moved to points beside them, and what is aimed at there
  steps          a step as a share of each weight's own size
  arithmetic     bfloat16 and the order of memory, for pictures
"""

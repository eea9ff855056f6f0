"""How much is computed at once. Sizes that fit the caches of one processor (1 MB a core), and what its threads and narrow
numbers are worth; `benchmarks/speed.py` measures them (parts rows, transform, epoch and busy). They decide time and memory,
and no result beyond its last digits.
"""

# cells of float64 between containers and tensors: of columns that are packed all at once, and of columns packed one by one,
# where more rows make up for looking at each column
N_CELLS_AT_ONCE, N_CELLS_BY_COLUMN = 2**19, 2**22
# numbers of the widest layer while rows are scored, and how many tensors as wide are alive: more than stay in cache take two
# to three times as long
N_NUMBERS_IN_CACHE, N_TENSORS = 2**19, 12
# rows, copies counted, that make up for reading the weights
LEAST_SCORED = 64
# rows drawn at once, and numbers of their widest layer
N_ROWS_AT_ONCE, N_NUMBERS_AT_ONCE = 4096, 2**23
# rows of a network of common widths, whose layers stay in cache
N_ROWS_IN_CACHE = 1024
# rows a step, at least and at most
MIN_BATCH, MAX_BATCH = 128, 2048
# weights of a network whose steps take longer than their products: of twice as many rows, they take little longer
SMALL_NETWORK = 2**18
# hidden units of a chain in a step, whose layers stay in cache
N_HIDDEN_A_STEP = 2**20
# numbers of covariance matrices, one for each row with a missing cell, that are factorised together
N_COVARIANCES_AT_ONCE = 2**22
# one-hot codes from which looking up their rows is faster than a product with them
MANY_CODES = 256
# width of a layer from which, and multiplications of it with a batch from which, bfloat16 gains more than its casts cost; a
# narrow product costs next to nothing, and latents and few columns want all their digits
MIN_WIDTH_BFLOAT16, MIN_PRODUCT_BFLOAT16 = 128, 2**25
# multiplications at a time, for each thread, from which another thread is worth having: by itself a fit of MNIST gains a
# third from a second one and a fit of Adult a quarter, but beside a busy process both then take two to three times as long
MIN_PRODUCTS_A_THREAD = 2**27

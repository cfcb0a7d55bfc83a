"""Which sentences say most (TextRank) and which terms belong together (latent semantic analysis).

TextRank: Mihalcea and Tarau, "TextRank: Bringing Order into Texts", 2004. Sentences vote for
sentences that share their terms; the votes settle as PageRank, solved here as one small linear
system. numpy does the algebra: the libraries that package these methods need either scipy and a
second of import, or model files fetched at run time, for matrices of a few dozen rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_DAMPING = 0.85
Matrix = NDArray[np.float64]


def term_matrix(bags: Sequence[Sequence[str]], most_terms: int = 400) -> tuple[Matrix, list[str]]:
    """TF-IDF rows of unit length, one for each bag of terms, and the terms that the columns stand for."""
    counts: dict[str, int] = {}
    for bag in bags:
        for term in set(bag):
            counts[term] = counts.get(term, 0) + 1
    kept = sorted(counts, key=lambda term: -counts[term])[:most_terms]  # stable: earlier terms win ties
    column = {term: index for index, term in enumerate(kept)}
    matrix = np.zeros((len(bags), len(kept)))
    for row, bag in enumerate(bags):
        for term in bag:
            if term in column:
                matrix[row, column[term]] += 1.0
    spread = np.array([counts[term] for term in kept], dtype=np.float64)
    matrix = np.log1p(matrix) * np.log1p(len(bags) / spread)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(lengths == 0.0, 1.0, lengths), kept


def text_rank(matrix: Matrix, prior: Sequence[float]) -> Matrix:
    """The importance of each row, from the rows' likeness and a ``prior`` (position, speaker ...)."""
    likeness = matrix @ matrix.T
    np.fill_diagonal(likeness, 0.0)
    columns = likeness.sum(axis=0)
    votes = likeness / np.where(columns == 0.0, 1.0, columns)
    teleport = np.asarray(prior, dtype=np.float64)
    teleport = teleport / teleport.sum()
    rank: Matrix = np.linalg.solve(np.eye(len(matrix)) - _DAMPING * votes, (1.0 - _DAMPING) * teleport)
    return rank


def most_telling(matrix: Matrix, rank: Matrix, count: int, too_alike: float = 0.6) -> list[int]:
    """The ``count`` best rows, best first, none of which repeats a better one."""
    chosen: list[int] = []
    for index in np.argsort(-rank, kind="stable"):
        if len(chosen) == count:
            break
        if not chosen or float((matrix[chosen] @ matrix[index]).max()) < too_alike:
            chosen.append(int(index))
    return chosen


def latent_components(matrix: Matrix, count: int) -> Matrix:
    """Loadings of the terms on the ``count`` strongest latent topics, one row each (truncated LSA).

    Through the sentence-by-sentence Gram matrix, which is the small side; signs say nothing, so
    the loadings are absolute. Weak topics (under a tenth of the strongest) are left out.
    """
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    order = [int(index) for index in np.argsort(-values)[:count] if values[index] > 0.1 * max(values.max(), 1e-12)]
    loadings: Matrix = np.abs(vectors[:, order].T @ matrix)
    return loadings

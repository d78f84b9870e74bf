"""A photometer for tests, as plain as can be: what share of small squares rises and falls together."""

import numpy as np

SQUARE = 8


class Alike:
    """Nearest pixels, squares of the candidate, correlation above 0.6."""

    def agreement(self, query, query_size, candidate, candidate_size, evidence):
        rows, columns = candidate.shape[:2]
        y, x = np.mgrid[:rows, :columns].reshape(2, -1).astype(float)
        x, y = (x + 0.5) * candidate_size[0] / columns - 0.5, (y + 0.5) * candidate_size[1] / rows - 0.5
        back = np.linalg.inv(np.array(evidence.transform)) @ np.stack([x, y, np.ones_like(x)])
        x = (back[0] / back[2] + 0.5) * query.shape[1] / query_size[0] - 0.5
        y = (back[1] / back[2] + 0.5) * query.shape[0] / query_size[1] - 0.5
        inside = (x > -0.5) & (y > -0.5) & (x < query.shape[1] - 0.5) & (y < query.shape[0] - 0.5)
        x, y = (np.clip(np.round(v), 0, n - 1).astype(int) for v, n in ((x, query.shape[1]), (y, query.shape[0])))
        ours = np.where(inside, query.mean(axis=2)[y, x], np.nan).reshape(rows, columns)
        theirs = candidate.mean(axis=2)
        alike = []
        for top in range(0, rows - SQUARE + 1, SQUARE):
            for left in range(0, columns - SQUARE + 1, SQUARE):
                part = np.s_[top : top + SQUARE, left : left + SQUARE]
                a, b = ours[part].ravel(), theirs[part].ravel()
                if not np.isnan(a).any() and min(a.std(), b.std()) > 2:
                    alike.append(np.corrcoef(a, b)[0, 1] > 0.6)
        return float(np.mean(alike)) if len(alike) >= 4 else None

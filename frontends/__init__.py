"""Doors: how programs enter and leave a graph; imported as `graphopt.frontends`."""

if __name__ == "frontends":
    raise ImportError("import it as graphopt.frontends: loaded twice, its classes would differ")

"""Who runs tasks: :class:`Worker`, in a program of one's own; ``coord worker`` is made of :class:`Serving`."""

from coord.recipes.queue.worker.attempt import LostWithWorkers
from coord.recipes.queue.worker.job import ProcessDied
from coord.recipes.queue.worker.serving import Serving
from coord.recipes.queue.worker.shop import Around
from coord.recipes.queue.worker.statistics import Statistics
from coord.recipes.queue.worker.worker import Worker, WorkerStuck

__all__ = ["Around", "LostWithWorkers", "ProcessDied", "Serving", "Statistics", "Worker", "WorkerStuck"]

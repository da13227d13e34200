/* The slots of the engine's Python classes, as `_accel.c` reads and writes them. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h> /* PyMemberDef, before 3.12 */

#ifdef Py_GIL_DISABLED
#error "the slots are accessed under the protection of the interpreter lock"
#endif

#define SLOTS(X)                                                                               \
    X(Task, fn) X(Task, read) X(Task, mutate) X(Task, overwrite) X(Task, options)              \
    X(Task, code) X(Task, lasti) X(Task, state) X(Task, then) X(Task, after) X(Task, error)    \
    X(Task, cause) X(Task, seq) X(Task, wait_count)                                            \
    X(Variable, owner) X(Variable, writer) X(Variable, readers) X(Variable, group)             \
    X(Variable, gone) X(Variable, version) X(Variable, room)                                   \
    X(Options, lane) X(Options, special)                                                       \
    X(Lane, ready) X(Lane, urgent) X(Lane, parts) X(Lane, idle)                                \
    X(Scheduler, inbox) X(Scheduler, cheap) X(Scheduler, relay) X(Scheduler, bells)            \
    X(Scheduler, recorder) X(Scheduler, count) X(Scheduler, completed) X(Scheduler, alarm)     \
    X(Scheduler, limit)

#define DECLARE(type, name) static Py_ssize_t type##_##name;
SLOTS(DECLARE)

/* The object in a slot, borrowed; NULL where nothing was stored yet. */
#define GET(object, slot) (*(PyObject **)((char *)(object) + (slot)))
#define IS_NONE(object) ((object) == NULL || (object) == Py_None)

enum { REQUEST = -1, NEW, RUNNING, FINISHED, ENDED, DONE }; /* as in task.py */

static PyTypeObject *Task, *Variable, *Options, *Lane, *Scheduler; /* NULL before `bind` */
static PyObject *state_objects[DONE + 1], *no_text, *no_tuple;

#define NAMES(X)                                                                               \
    X(append) X(popleft) X(appendleft) X(apply) X(prune) X(pop) X(integrate) X(complete)       \
    X(release) X(next) X(mutate) X(overwrite) X(overwritten) X(follow_writer) X(waits) X(quiet)
#define DECLARE_NAME(name) static PyObject *s_##name;
NAMES(DECLARE_NAME)

static void put(PyObject *object, Py_ssize_t slot, PyObject *value) /* takes the reference */
{
    PyObject *old = GET(object, slot);
    GET(object, slot) = value;
    Py_XDECREF(old);
}

static void clear(PyObject *object, Py_ssize_t slot) { put(object, slot, Py_NewRef(Py_None)); }

static long number(PyObject *object, Py_ssize_t slot) { return PyLong_AsLong(GET(object, slot)); }

static int put_number(PyObject *object, Py_ssize_t slot, long value)
{
    PyObject *boxed = PyLong_FromLong(value);
    if (boxed == NULL)
        return -1;
    put(object, slot, boxed);
    return 0;
}

static void put_state(PyObject *task, int state)
{
    put(task, Task_state, Py_NewRef(state_objects[state]));
}

/* Call a method that returns nothing of interest. */
static int tell(PyObject *object, PyObject *name, PyObject *argument)
{
    PyObject *result = argument == NULL ? PyObject_CallMethodNoArgs(object, name)
                                        : PyObject_CallMethodOneArg(object, name, argument);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Append to the list in a slot, which may be None. */
static int append_to(PyObject *object, Py_ssize_t slot, PyObject *item)
{
    PyObject *list = GET(object, slot);
    if (!IS_NONE(list))
        return PyList_Append(list, item);
    if ((list = PyList_New(1)) == NULL)
        return -1;
    PyList_SET_ITEM(list, 0, Py_NewRef(item));
    put(object, slot, list);
    return 0;
}

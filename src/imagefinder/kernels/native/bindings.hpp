// Parts of the Python bindings: views of arrays, and calls without the GIL.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <string>

namespace imagefinder {

// A view of a C-contiguous array, released when it goes out of scope.
class Array {
public:
    Array() = default;
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() {
        if (view_.obj) PyBuffer_Release(&view_);
    }

    bool get(PyObject* object, const char* name, int dimensions, bool writable = false) {
        if (PyObject_GetBuffer(object, &view_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0))) {
            view_.obj = nullptr;
            return refuse(name, "must be a C-contiguous array");
        }
        if (view_.ndim != dimensions) return refuse(name, "has the wrong number of dimensions");
        if (view_.itemsize && reinterpret_cast<std::uintptr_t>(view_.buf) % static_cast<std::size_t>(view_.itemsize))
            return refuse(name, "must be aligned");
        return true;
    }
    // The same for a new reference, which may be null after an error.
    bool take(PyObject* object, const char* name, int dimensions) {
        const bool valid = object && get(object, name, dimensions);
        Py_XDECREF(object);  // the view keeps its own reference
        return valid;
    }
    bool is_descriptors() const { return is("B", 1) || is("b", 1) || is("f", 4); }
    bool like(const Array& other) const {
        return view_.format && other.view_.format && std::strcmp(view_.format, other.view_.format) == 0 &&
               shape(1) == other.shape(1);
    }
    bool is(const char* formats, Py_ssize_t itemsize) const {
        return view_.itemsize == itemsize && view_.format && std::strlen(view_.format) == 1 &&
               std::strchr(formats, *view_.format);
    }
    static bool refuse(const char* name, const char* why) {
        PyErr_Format(PyExc_ValueError, "%s %s", name, why);
        return false;
    }
    std::size_t shape(int axis) const { return static_cast<std::size_t>(view_.shape[axis]); }
    template <class T>
    T* data() const {
        return static_cast<T*>(view_.buf);
    }

private:
    Py_buffer view_{};
};

// Runs a function without the GIL; C++ exceptions become Python exceptions.
template <class Work>
bool unlocked(Work work) {
    std::string failure;
    bool memory = true;
    Py_BEGIN_ALLOW_THREADS;
    try {
        work();
    } catch (const std::bad_alloc&) {
        memory = false;
    } catch (const std::exception& error) {
        failure = error.what();
    }
    Py_END_ALLOW_THREADS;
    if (!memory) PyErr_NoMemory();
    if (!failure.empty()) PyErr_SetString(PyExc_RuntimeError, failure.c_str());
    return memory && failure.empty();
}

// Bindings of geometry.hpp.
PyObject* fit_binding(PyObject*, PyObject* arguments);

// Bindings of pixels.hpp.
PyObject* displacements_binding(PyObject*, PyObject* arguments);
PyObject* by_level_binding(PyObject*, PyObject* arguments);
PyObject* fit_colours_binding(PyObject*, PyObject* arguments);
PyObject* map_colours_binding(PyObject*, PyObject* arguments);
PyObject* correlation_binding(PyObject*, PyObject* arguments);
PyObject* windows_binding(PyObject*, PyObject* arguments);
PyObject* alike_binding(PyObject*, PyObject* arguments);
PyObject* unexplained_binding(PyObject*, PyObject* arguments);

}  // namespace imagefinder

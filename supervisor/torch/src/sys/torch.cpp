// libtorch, with a C interface: loading a TorchScript model from memory, describing it, computing.
//
// Runs in: graph host for TorchScript, after the lock but for `eg_start` and `eg_warm_up`.
// Invariant: no exception leaves a function of this file; what went wrong is said through `say`, and the answer is null or false.
// Does not: open files, start threads after `eg_warm_up`, or make code: the parts of libtorch that do are switched off.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/csrc/jit/passes/tensorexpr_fuser.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/version.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t MAX_DIMS = 16;

using say_fn = void (*)(void *to, const char *text, size_t len);

void say(say_fn fn, void *to, const std::string &text) { fn(to, text.data(), text.size()); }

// The numbers stand in `tensor.rs` as well.
const c10::ScalarType TYPES[] = {at::kHalf, at::kFloat, at::kDouble, at::kBFloat16, at::kByte, at::kInt, at::kLong};

int type_of(c10::ScalarType type) {
    // Booleans are bytes of 0 and 1.
    if (type == at::kBool) return 4;
    for (int i = 0; i < int(sizeof TYPES / sizeof *TYPES); i++) {
        if (TYPES[i] == type) return i;
    }
    return -1;
}

// Runs `work`; whatever it throws is said.
template <class T, class F>
T guarded(T otherwise, say_fn fn, void *to, F work) {
    try {
        return work();
    } catch (const c10::Error &error) {
        say(fn, to, error.what_without_backtrace());
    } catch (const std::exception &error) {
        say(fn, to, error.what());
    } catch (...) {
        say(fn, to, "an exception of unknown kind");
    }
    return otherwise;
}

}  // namespace

extern "C" {

struct eg_tensor {
    int32_t type;
    uint32_t rank;
    int64_t dims[MAX_DIMS];
    const uint8_t *data;
    uint64_t bytes;
};

struct eg_model {
    mutable torch::jit::Module module;
    std::vector<std::string> inputs;
    size_t outputs;
};

struct eg_outputs {
    std::vector<at::Tensor> tensors;
};

void eg_version(say_fn fn, void *to) { say(fn, to, TORCH_VERSION); }

// Before the process is hardened: libtorch reads what this machine's processor can from files.
bool eg_prepare(say_fn fn, void *to) {
    return guarded(false, fn, to, [&] { return (at::ones({1}) + 1).sum().item<float>() == 2; });
}

// Before any model: how many threads a compute has, and nothing that compiles.
bool eg_start(int32_t threads, say_fn fn, void *to) {
    return guarded(false, fn, to, [&] {
        at::set_num_threads(threads);
        at::set_num_interop_threads(1);
        at::globalContext().setUserEnabledMkldnn(false);
        torch::jit::getProfilingMode() = false;
        torch::jit::getExecutorMode() = false;
        torch::jit::setTensorExprFuserEnabled(false);
        // The one thread for a model's asynchronous parts exists from here on.
        std::atomic<bool> begun{false};
        at::launch([&] { begun = true; });
        while (!begun) std::this_thread::yield();
        return true;
    });
}

// In each thread that computes: its helpers exist from here on.
bool eg_warm_up(say_fn fn, void *to) {
    return guarded(false, fn, to, [&] {
        c10::InferenceMode guard;
        // Large enough that libtorch gives each helper a part.
        const auto sum = (at::ones({int64_t(at::get_num_threads()) << 18}) + 1).sum().item<float>();
        const auto ones = at::ones({64, 64});
        return sum > 0 && at::matmul(ones, ones).sum().item<float>() > 0;
    });
}

eg_model *eg_load(const uint8_t *bytes, size_t len, say_fn fn, void *to) {
    return guarded<eg_model *>(nullptr, fn, to, [&]() -> eg_model * {
        std::istringstream stream(std::string(reinterpret_cast<const char *>(bytes), len));
        auto model = std::make_unique<eg_model>();
        model->module = torch::jit::load(stream, c10::Device(c10::kCPU));
        model->module.eval();
        const auto method = model->module.find_method("forward");
        if (!method) {
            say(fn, to, "the model has no method `forward`");
            return nullptr;
        }
        const auto &schema = method->function().getSchema();
        const auto &arguments = schema.arguments();
        // The first is the module itself.
        for (size_t i = 1; i < arguments.size(); i++) {
            if (arguments[i].type()->kind() == c10::TypeKind::TensorType) {
                model->inputs.push_back(arguments[i].name());
            } else if (!arguments[i].default_value()) {
                say(fn, to, "argument `" + arguments[i].name() + "` of `forward` is `" + arguments[i].type()->str() + "`, and wasi-nn has tensors only");
                return nullptr;
            } else {
                // What has a value of its own keeps it, and so does all that follows: arguments are given by position.
                break;
            }
        }
        if (schema.returns().size() != 1) {
            say(fn, to, "`forward` returns nothing");
            return nullptr;
        }
        const auto &type = schema.returns()[0].type();
        model->outputs = 1;
        if (const auto tuple = type->cast<c10::TupleType>()) {
            model->outputs = tuple->elements().size();
            for (const auto &element : tuple->elements()) {
                if (element->kind() != c10::TypeKind::TensorType) {
                    say(fn, to, "`forward` returns `" + type->str() + "`, and wasi-nn has tensors only");
                    return nullptr;
                }
            }
        } else if (type->kind() != c10::TypeKind::TensorType) {
            say(fn, to, "`forward` returns `" + type->str() + "`, and a tensor or a tuple of tensors is served");
            return nullptr;
        }
        return model.release();
    });
}

void eg_model_free(eg_model *model) { delete model; }

size_t eg_model_inputs(const eg_model *model) { return model->inputs.size(); }

size_t eg_model_outputs(const eg_model *model) { return model->outputs; }

void eg_model_input(const eg_model *model, size_t index, say_fn fn, void *to) {
    if (index < model->inputs.size()) say(fn, to, model->inputs[index]);
}

// The inputs' numbers are read until it returns, and not after.
eg_outputs *eg_compute(const eg_model *model, const eg_tensor *inputs, size_t count, say_fn fn, void *to) {
    return guarded<eg_outputs *>(nullptr, fn, to, [&]() -> eg_outputs * {
        c10::InferenceMode guard;
        std::vector<c10::IValue> arguments;
        for (size_t i = 0; i < count; i++) {
            const auto &input = inputs[i];
            if (input.type < 0 || size_t(input.type) >= sizeof TYPES / sizeof *TYPES || input.rank > MAX_DIMS) {
                say(fn, to, "an input of no known type");
                return nullptr;
            }
            auto tensor = at::empty(at::IntArrayRef(input.dims, input.rank), TYPES[input.type]);
            if (tensor.nbytes() != input.bytes) {
                say(fn, to, "an input of another length than its shape's");
                return nullptr;
            }
            if (input.bytes) std::memcpy(tensor.data_ptr(), input.data, input.bytes);
            arguments.emplace_back(std::move(tensor));
        }
        const auto value = model->module.forward(std::move(arguments));
        auto outputs = std::make_unique<eg_outputs>();
        const auto take = [&](const c10::IValue &value) {
            if (!value.isTensor()) return false;
            outputs->tensors.push_back(value.toTensor().to(at::kCPU).contiguous());
            return true;
        };
        bool all = true;
        if (value.isTuple()) {
            for (const auto &element : value.toTupleRef().elements()) all = all && take(element);
        } else {
            all = take(value);
        }
        if (!all || outputs->tensors.size() != model->outputs) {
            say(fn, to, "the model returned other than it declares");
            return nullptr;
        }
        return outputs.release();
    });
}

void eg_outputs_free(eg_outputs *outputs) { delete outputs; }

// False: no such output, or one that cannot be told.
bool eg_output(const eg_outputs *outputs, size_t index, eg_tensor *into, say_fn fn, void *to) {
    return guarded(false, fn, to, [&] {
        if (index >= outputs->tensors.size()) return false;
        const auto &tensor = outputs->tensors[index];
        into->type = type_of(tensor.scalar_type());
        if (into->type < 0 || tensor.is_sparse() || tensor.is_quantized() || size_t(tensor.dim()) > MAX_DIMS) {
            say(fn, to, std::string("an output of ") + c10::toString(tensor.scalar_type()) + ", for which wasi-nn has no tensor");
            return false;
        }
        into->rank = uint32_t(tensor.dim());
        for (int64_t i = 0; i < tensor.dim(); i++) into->dims[i] = tensor.size(i);
        into->data = static_cast<const uint8_t *>(tensor.data_ptr());
        into->bytes = tensor.nbytes();
        return true;
    });
}

// A model from TorchScript's text, with one parameter `weight` of ones and twos; for tests, which have no other way to make one.
bool eg_make(const char *text, int64_t rows, int64_t columns, say_fn fn, void *to) {
    return guarded(false, fn, to, [&] {
        torch::jit::Module module("Made");
        auto weight = at::arange(rows * columns, at::kFloat).remainder(7).div(8).reshape({rows, columns});
        module.register_parameter("weight", weight, false);
        module.define(text);
        std::ostringstream stream;
        module.save(stream);
        say(fn, to, stream.str());
        return true;
    });
}

}  // extern "C"
